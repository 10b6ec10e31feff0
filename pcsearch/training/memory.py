"""Memory in training: what the process keeps, and batches in parts, which take less."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
_BYTES = (2**30, 2**25)
"""Blocks up to this size are kept. Older versions of glibc accept only the second value."""


def tune_malloc() -> bool:
    """Make glibc keep freed memory in the process; False if that could not be set.

    By default glibc returns large blocks to the kernel, and new pages are zeroed one by one.
    A training step's activations are such blocks. For SqueezeNet at 112 pixels that costs up to
    20,000 page faults a step, a tenth to a quarter of its time. The price is memory: the process
    keeps its peak. Without glibc nothing is set.

    Threads other than the main one have their own memory pools. Their large blocks still go back
    now and then, unless the process was started with MALLOC_ARENA_MAX=1.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(
        any(mallopt(which, size) for size in _BYTES) for which in (_TRIM_THRESHOLD, _MMAP_THRESHOLD)
    )


def pairs_per_part(batch_size: int, micro_batches: int) -> int:
    """Pairs in a micro-batch when whole batches are trained in `micro_batches` parts, at least one.

    Pairs and batch normalisation both need two images.

    Raises:
        ValueError: fewer than one part.
    """
    if micro_batches < 1:
        raise ValueError(f"micro_batches is {micro_batches}, but must be at least 1")
    return max(1, -(-(batch_size // 2) // micro_batches))


def divided(images: Tensor, labels: Tensor, pairs: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The micro-batches of a batch [B, ...]: at most `pairs` pairs each, of nearly equal size.

    Sample k stays the partner of sample k + B//2 (see `pcsearch.losses.pairing`). So the whole
    batch's penalty is the mean over its parts, weighted by their images. The sample left over in
    an odd batch joins the last part, which makes those weights slightly inexact. A batch that fits
    is not divided.
    """
    half = len(labels) // 2
    if half <= pairs:
        yield images, labels
        return
    parts = -(-half // pairs)
    for start, stop in pairwise(-(-half * part // parts) for part in range(parts + 1)):
        end = half + stop if stop < half else len(labels)
        sides = slice(start, stop), slice(half + start, end)
        yield (
            torch.cat([images[side] for side in sides]),
            torch.cat([labels[side] for side in sides]),
        )
