"""Batches in parts, for want of memory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor


def pairs_per_part(batch_size: int, micro_batches: int) -> int:
    """How many pairs a micro-batch takes when whole batches are trained in `micro_batches` parts.

    At least one: two images are the least that have a partner, and that batch normalisation takes.

    Raises ValueError for less than one part.
    """
    if micro_batches < 1:
        raise ValueError(f"micro_batches is {micro_batches}, but must be at least 1")
    return max(1, -(-(batch_size // 2) // micro_batches))


def divided(images: Tensor, labels: Tensor, pairs: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The micro-batches of a batch [B, ...], each of `pairs` pairs at most, as equal as can be.

    Sample k stays the partner of sample k + B//2 (see `pcsearch.confusion.pairing`), so that the
    undivided batch's penalty is the mean of its parts', weighted by their images. The sample that
    an odd batch has left over goes with the last part; there alone weights differ a little. A
    batch that fits is given as it is, one smaller than the others too.
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
