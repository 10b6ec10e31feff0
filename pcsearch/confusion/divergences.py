"""Divergences between two class distributions P and Q over N classes.

Every function reduces the last dimension: two tensors [..., N] give [...], one value a pair.
fp16 and bf16 inputs are computed, and returned, in float32; float64 stays float64. Functions that
take logarithms take log-probabilities (`log_softmax` of the logits), which stay finite where
probabilities underflow.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pcsearch.confusion.precision import at_least_float32


def euclidean_confusion(p: Tensor, q: Tensor) -> Tensor:
    """D_EC(P, Q) = ‖P − Q‖₂² = Σ_i (p_i − q_i)², in [0, 2] (Eq. 5).

    D_EC ≤ D_J (Lemma 1) and D_EC ≤ 4·D_TV² (Lemma 2). Takes probabilities, not logits.
    """
    return (at_least_float32(p) - at_least_float32(q)).square().sum(dim=-1)


def total_variation(p: Tensor, q: Tensor) -> Tensor:
    """D_TV(P, Q) = ½·‖P − Q‖₁, in [0, 1] (Lemma 2). Takes probabilities, not logits."""
    return 0.5 * (at_least_float32(p) - at_least_float32(q)).abs().sum(dim=-1)


def kl_divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(P‖Q) = Σ_i p_i·log(p_i / q_i), in [0, ∞], in nats. Takes log-probabilities.

    Where p_i = 0 the term is 0; where only q_i = 0 it is infinite.
    """
    log_p, log_q = at_least_float32(log_p), at_least_float32(log_q)
    log_ratio = torch.where(log_p == -torch.inf, 0.0, log_p - log_q)
    return (log_p.exp() * log_ratio).sum(dim=-1)


def jeffreys_divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """D_J(P, Q) = KL(P‖Q) + KL(Q‖P) = Σ_i (p_i − q_i)·log(p_i / q_i), in nats (Eq. 1, 2).

    Takes log-probabilities. Symmetric and unbounded: for two classes with p(y₁|x₁) = 1 − δ₁ and
    p(y₂|x₂) = 1 − δ₂, D_J ≥ (1 − δ₁ − δ₂)·(2·log(1 − δ₁ − δ₂) − log(δ₁·δ₂)) (Eq. 3), so it grows
    without limit as the predictions become confident, which cross-entropy asks for.
    """
    log_p, log_q = at_least_float32(log_p), at_least_float32(log_q)
    # Equal terms give 0, two zero probabilities among them (where −∞ − (−∞) would be NaN).
    log_ratio = torch.where(log_p == log_q, 0.0, log_p - log_q)
    return ((log_p.exp() - log_q.exp()) * log_ratio).sum(dim=-1)


def entropy(log_p: Tensor) -> Tensor:
    """H(P) = −Σ_i p_i·log(p_i), in [0, log N], in nats. Takes log-probabilities."""
    log_p = at_least_float32(log_p)
    finite = torch.where(log_p == -torch.inf, 0.0, log_p)
    return -(log_p.exp() * finite).sum(dim=-1)
