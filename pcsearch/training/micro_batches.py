"""Batches trained in parts, one after the other, which takes less memory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor


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
