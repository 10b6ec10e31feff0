"""The training loss: cross-entropy plus λ times a confusion penalty, and the penalties by name.

A penalty takes logits [B, N] in at least float32, and targets: class indices [B], or probabilities
[B, N] of mixed images. It returns the scalar R of L = mean cross-entropy + λ·R. Pairs are
(k, k + B//2) for k < B//2. The last sample of an odd batch is in no pair. A batch without pairs has
R = 0, except for penalties that use no pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pcsearch.errors import UserError, did_you_mean
from pcsearch.losses.divergences import (
    at_least_float32,
    entropy,
    euclidean_confusion,
    jeffreys_divergence,
)
from pcsearch.losses.pairing import split_pairs

_Penalty = Callable[[Tensor, Tensor], Tensor]


def _euclidean_penalty(logits: Tensor, targets: Tensor) -> Tensor:
    """R = ½ · mean over pairs of γ·D_EC, γ = 1 where the labels differ, else 0 (Eq. 10)."""
    divergences = euclidean_confusion(*split_pairs(logits.softmax(dim=-1)))
    return _half_mean(_between_classes(divergences, targets))


def _jeffreys_penalty(logits: Tensor, targets: Tensor) -> Tensor:
    """R = ½ · mean over pairs of γ·D_J (Sect. 3.1's ablation; diverges unless λ is tiny)."""
    divergences = jeffreys_divergence(*split_pairs(F.log_softmax(logits, dim=-1)))
    return _half_mean(_between_classes(divergences, targets))


def _norm_penalty(logits: Tensor, targets: Tensor) -> Tensor:
    """R = Σ over pairs of ‖p₁ − p₂‖₂ / batch size: not squared, and pairs of one class count too.

    This is what the authors' released PyTorch snippet computes. That snippet raises on an odd
    batch. Here the penalty drops the unpaired sample: "batch size" is the number of paired
    samples, 2·(B//2). So R = ½ · mean over pairs of ‖p₁ − p₂‖₂ for every B.
    """
    first, second = split_pairs(logits.softmax(dim=-1))
    return _half_mean(torch.linalg.vector_norm(first - second, dim=-1))


def _entropic_penalty(logits: Tensor, targets: Tensor) -> Tensor:
    """R = −mean over samples of H(p), so that minimising L raises the entropy. Uses no pairs.

    Dubey, Gupta, Raskar, Naik, "Maximum-Entropy Fine-Grained Classification", NeurIPS 2018.
    """
    return -entropy(F.log_softmax(logits, dim=-1)).mean()


_MARGIN = 10.0
"""Logits may differ by this much without penalty: the authors' value, also on CUB."""


def _logit_margin_penalty(logits: Tensor, targets: Tensor) -> Tensor:
    """R = mean over samples and classes of max(0, max_j z_j − z_k − 10). Uses no pairs.

    Margin-based label smoothing: Liu, Ben Ayed, Galdran, Dolz, "The Devil is in the Margin", CVPR
    2022, Eq. 8. As in the authors' code, classes are averaged, not summed.
    """
    gaps = logits.max(dim=-1, keepdim=True).values - logits
    return F.relu(gaps - _MARGIN).mean()


def _poly1_penalty(logits: Tensor, targets: Tensor) -> Tensor:
    """R = mean over samples of 1 − p(true class); λ is the paper's ε₁. Uses no pairs.

    Leng, Tan, Liu, Cubuk, Shi, Cheng, Anguelov, "PolyLoss", ICLR 2022, Eq. 6. For a mixed image,
    p(true class) is the mean over its labels.
    """
    probabilities = logits.softmax(dim=-1)
    if targets.dim() == 1:
        true = probabilities.gather(1, targets.unsqueeze(1)).squeeze(1)
    else:
        true = (probabilities * targets).sum(dim=-1)
    return (1 - true).mean()


VARIANTS: dict[str, _Penalty] = {
    "euclidean": _euclidean_penalty,
    "norm": _norm_penalty,
    "jeffreys": _jeffreys_penalty,
    "entropic": _entropic_penalty,
    "logit_margin": _logit_margin_penalty,
    "poly1": _poly1_penalty,
}
"""Penalty by variant name; a row adds one. `euclidean` is the paper's method."""


def check_variant(name: str) -> None:
    """Raise `UserError` for a name that is not in `VARIANTS`."""
    if name not in VARIANTS:
        hint = did_you_mean(name, VARIANTS) or f"; choose one of {', '.join(VARIANTS)}"
        raise UserError(f'unknown loss variant "{name}"{hint}')


def _between_classes(divergences: Tensor, targets: Tensor) -> Tensor:
    """γ·D: the divergences [B//2] with pairs of one class set to zero.

    For mixed images, γ is the probability that a label drawn from each one's targets differs:
    1 − Σ_i t_i·u_i. For images of one label each, this is the γ of Eq. 10.
    """
    first, second = split_pairs(targets)
    if targets.dim() == 2:
        return (1 - (first * second).sum(dim=-1)) * divergences
    return torch.where(first != second, divergences, 0.0)


def _half_mean(values: Tensor) -> Tensor:
    """½ · mean, and 0 (still attached to the graph) for no values."""
    return values.sum() / (2 * max(len(values), 1))


class PairwiseConfusionLoss(nn.Module):
    """Cross-entropy with Pairwise Confusion; a drop-in for `nn.CrossEntropyLoss` on logits.

    With p = softmax(logits), pairs (k, k + B//2) of one batch, and γ = 1 where the labels of a pair
    differ, else 0:

    | variant     | loss                                                           |
    | ----------- | -------------------------------------------------------------- |
    | `euclidean` | mean CE + (λ/2) · mean over pairs of γ·‖p₁ − p₂‖₂²  (the paper) |
    | `norm`      | mean CE + λ · Σ over pairs of ‖p₁ − p₂‖₂ / batch size           |
    | `jeffreys`  | mean CE + (λ/2) · mean over pairs of γ·D_J(p₁, p₂)              |
    | `entropic`  | mean CE − λ · mean over samples of H(p)                         |
    | `logit_margin` | mean CE + λ · mean of max(0, max_j z_j − z_k − 10)           |
    | `poly1`     | mean CE + λ · mean over samples of 1 − p(true class)            |

    `euclidean` is Eq. 10, halved and averaged over the pairs. So λ is the paper's λ at the learning
    rate of plain cross-entropy. Pairs of one class count in the mean, as zeros. `norm` is the
    authors' released snippet. A λ tuned for one variant says nothing about another.

    - λ = 0 is exactly `F.cross_entropy(logits, targets, label_smoothing=...)`, value and gradient.
    - Any batch size works. An odd batch's last sample counts in the cross-entropy only. A batch of
      one is plain cross-entropy (plus the entropy term for `entropic`).
    - The penalty is computed in float32 for fp16 and bf16 logits and under autocast, in float64 for
      float64 logits. The loss has the wider type of its two terms.

    **Choosing λ** (`euclidean`): search between 0.05·N and 0.15·N for N classes. Use a part of the
    training images held out for that, never the test images. Strong confusion is normal. For
    confident predictions on disjoint classes, −log p + (λ/2)·2p² is least at p* = 1/√(2λ) (λ ≥ ½).
    So λ = 0.1·N leaves a confidence of about 0.71 for N = 10 and 0.16 for N = 200. The objective is
    accuracy, not confidence. `jeffreys` is unbounded and needs a far smaller λ.

    Args:
        lambda_: λ ≥ 0, finite.
        variant: a name in `VARIANTS`.
        label_smoothing: of the cross-entropy term, in [0, 1].

    Raises:
        UserError: an argument is out of range, or an input has another shape than `forward` takes.
    """

    def __init__(
        self, lambda_: float = 0.0, variant: str = "euclidean", label_smoothing: float = 0.0
    ) -> None:
        super().__init__()
        if not (math.isfinite(lambda_) and lambda_ >= 0.0):
            raise UserError(f"lambda_ is {lambda_}, but must be a finite number of at least 0")
        check_variant(variant)
        if not 0.0 <= label_smoothing <= 1.0:
            raise UserError(f"label_smoothing is {label_smoothing}, but must be in [0, 1]")
        self.lambda_ = float(lambda_)
        self.variant = variant
        self.label_smoothing = float(label_smoothing)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The scalar loss of logits [B, N] (before softmax).

        `targets`: int64 class indices [B], or probabilities [B, N], as of mixed images.
        """
        if logits.dim() != 2 or targets.shape not in (logits.shape[:1], logits.shape):
            raise UserError(
                "PairwiseConfusionLoss takes logits [B, N] and class indices [B] or probabilities "
                f"[B, N], but got {list(logits.shape)} and {list(targets.shape)}"
            )
        cross_entropy = F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)
        if self.lambda_ == 0.0:
            return cross_entropy
        penalty = VARIANTS[self.variant](at_least_float32(logits), targets)
        return cross_entropy + self.lambda_ * penalty

    def extra_repr(self) -> str:
        """The settings, as `print(model)` shows them."""
        return (
            f"lambda_={self.lambda_:g}, variant={self.variant!r}, "
            f"label_smoothing={self.label_smoothing:g}"
        )
