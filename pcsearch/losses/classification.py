"""Cross-entropy and its relatives: what a network is trained by, apart from penalties."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_LEAST_NORM = 1e-7  # as in the authors' code of LogitNorm


def classification_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    logit_norm: float = 0.0,
    class_weights: Tensor | None = None,
) -> Tensor:
    """The mean classification loss of a batch; with all of them off, `F.cross_entropy`.

    Args:
        logits: [B, N], before softmax, in at least float32.
        targets: int64 class indices [B], or probabilities [B, N], as of mixed images.
        label_smoothing: ε in [0, 1]: targets become (1 − ε)·t + ε/N. Szegedy, Vanhoucke, Ioffe,
            Shlens, Wojna, "Rethinking the Inception Architecture", CVPR 2016, Sect. 7.
        focal_gamma: γ ≥ 0 of the focal loss in its softmax form, −Σ_k t_k·(1 − p_k)^γ·log p_k.
            Lin, Goyal, Girshick, He, Dollár, "Focal Loss", ICCV 2017, Eq. 4. Class weights are
            the α of its Eq. 5.
        logit_norm: τ ≥ 0: logits z become z / (τ·(‖z‖₂ + 1e-7)) in this loss alone. Wei, Xie,
            Cheng, Feng, An, Li, "Mitigating Neural Network Overconfidence with Logit
            Normalization", ICML 2022, Eq. 7. 0 leaves them as they are.
        class_weights: w [N] in the type of the logits: each term −t_k·log p_k is multiplied by w_k.
            The sum is divided by B. So the weights are not normalised within the batch, and parts
            of a batch add up to the whole.
    """
    if logit_norm > 0:
        norms = torch.linalg.vector_norm(logits, dim=-1, keepdim=True)
        logits = logits / (logit_norm * (norms + _LEAST_NORM))
    if focal_gamma == 0:
        if class_weights is None:
            return F.cross_entropy(logits, targets, label_smoothing=label_smoothing)
        return F.cross_entropy(
            logits, targets, class_weights, label_smoothing=label_smoothing, reduction="none"
        ).mean()
    log_p = F.log_softmax(logits, dim=-1)
    terms = -log_p * _clamped_power(-torch.expm1(log_p), focal_gamma)
    if class_weights is not None:
        terms = class_weights * terms
    return (_smoothed(targets, label_smoothing, logits) * terms).sum(dim=-1).mean()


def _smoothed(targets: Tensor, amount: float, logits: Tensor) -> Tensor:
    """Targets as probabilities [B, N]."""
    classes = logits.shape[1]
    if targets.dim() == 1:
        targets = F.one_hot(targets, classes)
    return (1 - amount) * targets.to(logits.dtype) + amount / classes


def _clamped_power(values: Tensor, exponent: float) -> Tensor:
    """values^exponent for values in [0, 1]; a value of 0 gives 0 and a finite gradient."""
    least = torch.finfo(values.dtype).tiny
    return values.clamp_min(least).pow(exponent)
