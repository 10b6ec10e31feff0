"""The named penalties a λ can multiply. A λ means nothing without its variant's name.

Each takes logits [B, N] in at least float32 and targets [B], and returns the scalar R of
L = mean cross-entropy + λ·R. Pairs are (k, k + B//2) for k < B//2; the last sample of an odd batch
has no partner and enters no pair. A batch without pairs has R = 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional as F

from pcsearch.confusion.divergences import entropy, euclidean_confusion, jeffreys_divergence
from pcsearch.confusion.pairing import split_pairs

Penalty = Callable[[Tensor, Tensor], Tensor]


def euclidean_penalty(logits: Tensor, targets: Tensor) -> Tensor:
    """R = ½ · mean over pairs of γ·D_EC, γ = 1 where the labels differ, else 0 (Eq. 10)."""
    divergences = euclidean_confusion(*split_pairs(logits.softmax(dim=-1)))
    return _half_mean(_between_classes(divergences, targets))


def jeffreys_penalty(logits: Tensor, targets: Tensor) -> Tensor:
    """R = ½ · mean over pairs of γ·D_J (Sect. 3.1's ablation; diverges unless λ is tiny)."""
    divergences = jeffreys_divergence(*split_pairs(F.log_softmax(logits, dim=-1)))
    return _half_mean(_between_classes(divergences, targets))


def norm_penalty(logits: Tensor, targets: Tensor) -> Tensor:
    """R = Σ over pairs of ‖p₁ − p₂‖₂ / batch size: not squared, and pairs of one class count too.

    This is what the authors' released PyTorch snippet computes. It raises on an odd batch; here
    the unpaired sample is dropped from the penalty, so "batch size" is the number of paired
    samples, 2·(B//2), and R = ½ · mean over pairs of ‖p₁ − p₂‖₂ for every B.
    """
    first, second = split_pairs(logits.softmax(dim=-1))
    return _half_mean(torch.linalg.vector_norm(first - second, dim=-1))


def entropic_penalty(logits: Tensor, targets: Tensor) -> Tensor:
    """R = −mean over samples of H(p), so that minimising L raises the entropy. Uses no pairs.

    Dubey, Gupta, Raskar, Naik, "Maximum-Entropy Fine-Grained Classification", NeurIPS 2018.
    """
    return -entropy(F.log_softmax(logits, dim=-1)).mean()


VARIANTS: Mapping[str, Penalty] = MappingProxyType(
    {
        "euclidean": euclidean_penalty,
        "norm": norm_penalty,
        "jeffreys": jeffreys_penalty,
        "entropic": entropic_penalty,
    }
)
"""Penalty by variant name; `euclidean` is the paper's method."""


def _between_classes(divergences: Tensor, targets: Tensor) -> Tensor:
    """γ·D: the divergences [B//2] with pairs of one class set to zero."""
    first, second = split_pairs(targets)
    return torch.where(first != second, divergences, 0.0)


def _half_mean(values: Tensor) -> Tensor:
    """½ · mean, and 0 (still attached to the graph) for no values."""
    return values.sum() / (2 * max(len(values), 1))
