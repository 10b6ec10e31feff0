"""Pairing: sample k of a batch of B samples is paired with sample k + B//2."""

from __future__ import annotations

import torch
from torch import Tensor

from pcsearch.errors import UserError, did_you_mean

PAIRINGS = ("split_batch", "two_shuffles", "between_classes")
"""`split_batch`: Fig. 1, one shuffle an epoch. `two_shuffles`: Algorithm 1, two of them.

`between_classes` is no pairing of the paper: a batch's pairs are of two classes where possible.
"""


def split_pairs(batch: Tensor) -> tuple[Tensor, Tensor]:
    """The two sides [B//2, ...] of the pairs (k, k + B//2) of a batch [B, ...], as views.

    The last sample of an odd batch has no partner and is in neither.
    """
    half = len(batch) // 2
    return batch[:half], batch[half : 2 * half]


def epoch_batches(
    num_samples: int,
    batch_size: int,
    pairing: str,
    generator: torch.Generator,
    labels: Tensor | None = None,
) -> list[Tensor]:
    """The index batches (int64, on the CPU) of one epoch, paired as `split_pairs` reads them.

    - `split_batch`: one shuffle, cut into batches of `batch_size`. Every sample comes once.
    - `two_shuffles`: two shuffles D1 and D2 (Algorithm 1). A batch is batch_size//2 samples of D1,
      then as many of D2, so it never exceeds `batch_size`. Every sample comes twice, once on each
      side. A sample may be paired with itself, a pair of one class.
    - `between_classes`: the batches of `split_batch`, each sorted by class, in an order of the
      classes that is drawn anew for each batch. So no pair has one class, unless a class has more
      than half of the batch; then as few pairs as possible have it. Where classes are imbalanced,
      γ = 0 for fewer pairs. Needs `labels`, int64 class indices of the samples.

    The last batch may be smaller. A last batch of one sample joins the one before, since BatchNorm
    cannot train on a single value. The state of `generator` (on the CPU) alone decides the result.

    Raises `UserError` for an unknown pairing, a negative number of samples, or a batch size below
    1 (2 for `two_shuffles`).
    """
    step = _samples_per_batch(num_samples, batch_size, pairing)
    if num_samples == 0:
        return []
    first = torch.split(torch.randperm(num_samples, generator=generator), step)
    if pairing == "split_batch":
        return _without_single(list(first))
    if pairing == "between_classes":
        if labels is None:
            raise UserError('pairing "between_classes" needs the labels of the samples')
        return [_by_class(one, labels, generator) for one in _without_single(list(first))]
    second = torch.split(torch.randperm(num_samples, generator=generator), step)
    return [torch.cat(sides) for sides in zip(first, second, strict=True)]


def num_batches(num_samples: int, batch_size: int, pairing: str) -> int:
    """The number of batches of `epoch_batches`, without drawing them. Raises the same errors."""
    step = _samples_per_batch(num_samples, batch_size, pairing)
    whole, rest = divmod(num_samples, step)
    joins = rest == 1 and whole > 0 and pairing != "two_shuffles"
    return whole + (rest > 0 and not joins)


def _by_class(batch: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    """The batch with each class in one piece. So partners half a batch apart differ in class."""
    own = labels[batch]
    place = torch.randperm(int(own.max()) + 1, generator=generator)
    return batch[torch.argsort(place[own], stable=True)]


def _without_single(batches: list[Tensor]) -> list[Tensor]:
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def _samples_per_batch(num_samples: int, batch_size: int, pairing: str) -> int:
    """How many samples of one shuffle a batch takes."""
    if pairing not in PAIRINGS:
        hint = did_you_mean(pairing, PAIRINGS) or f"; choose one of {', '.join(PAIRINGS)}"
        raise UserError(f'unknown pairing "{pairing}"{hint}')
    smallest = 2 if pairing == "two_shuffles" else 1
    if batch_size < smallest:
        raise UserError(
            f'batch_size is {batch_size}, but pairing "{pairing}" needs at least {smallest}'
        )
    if num_samples < 0:
        raise UserError(f"num_samples is {num_samples}, but must be at least 0")
    return batch_size // 2 if pairing == "two_shuffles" else batch_size
