"""Divergences between two class distributions P and Q over N classes, and between point sets.

A divergence of distributions reduces the last dimension: two tensors [..., N] give [...].
Functions with logarithms take log-probabilities (`log_softmax` of the logits), which stay finite
where probabilities underflow.

A point set is a tensor [n, D] of n ≥ 1 points with equal weights. The two sets may differ in size.

fp16 and bf16 inputs are computed and returned in float32. float64 stays float64.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pcsearch.errors import UserError


def at_least_float32(values: Tensor) -> Tensor:
    """`values` in float32 if they are fp16 or bf16 (as under autocast), else unchanged.

    Differences of nearly equal probabilities lose all their digits in 8 or 11 bits.
    """
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


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

    Takes log-probabilities. It is symmetric and unbounded. For two classes with p(y₁|x₁) = 1 − δ₁
    and p(y₂|x₂) = 1 − δ₂, D_J ≥ (1 − δ₁ − δ₂)·(2·log(1 − δ₁ − δ₂) − log(δ₁·δ₂)) (Eq. 3). So D_J
    grows without limit as predictions become confident, and cross-entropy makes them so.
    """
    log_p, log_q = at_least_float32(log_p), at_least_float32(log_q)
    # Equal terms give 0. For two zero probabilities, −∞ − (−∞) would be NaN.
    log_ratio = torch.where(log_p == log_q, 0.0, log_p - log_q)
    return ((log_p.exp() - log_q.exp()) * log_ratio).sum(dim=-1)


def entropy(log_p: Tensor) -> Tensor:
    """H(P) = −Σ_i p_i·log(p_i), in [0, log N], in nats. Takes log-probabilities."""
    log_p = at_least_float32(log_p)
    finite = torch.where(log_p == -torch.inf, 0.0, log_p)
    return -(log_p.exp() * finite).sum(dim=-1)


def point_set_confusion(first: Tensor, second: Tensor) -> Tensor:
    """D_EC(S, T) = mean over all pairs (u in S, v in T) of ‖u − v‖₂² (Eq. 6; Eq. 7 for |S| = |T|).

    Takes [n, D] and [m, D], returns a scalar. It is computed as
    ‖mean S − mean T‖² + mean_u ‖u − mean S‖² + mean_v ‖v − mean T‖². This is the same number in
    O((n + m)·D) steps, without the n·m pairs and without cancellation.
    """
    first, second = _checked(first, second)
    first_mean, second_mean = first.mean(dim=0), second.mean(dim=0)
    first_spread = (first - first_mean).square().sum(dim=-1).mean()
    second_spread = (second - second_mean).square().sum(dim=-1).mean()
    return (first_mean - second_mean).square().sum() + first_spread + second_spread


def energy_distance(
    first: Tensor, second: Tensor, power: float = 2.0, *, squared: bool = True
) -> Tensor:
    """D_EN(S, T)² = 2·E‖X − Y‖^a − E‖X − X'‖^a − E‖Y − Y'‖^a, a = `power` in (0, 2] (Eq. 8).

    X, X' are drawn from S [n, D] and Y, Y' from T [m, D], uniformly and independently. So a point
    is also paired with itself. Returns a scalar: D_EN² as in Eq. 8, or D_EN if not `squared`. The
    gradient of D_EN is infinite at 0.

    Erratum. Eq. 8 prints a = 1. But two statements are about squared norms, a = 2 (the default
    here), where D_EN² = 2·‖mean S − mean T‖²: Lemma 3, ½·D_EN² ≤ D_EC(S, T), and Corollary 1,
    D_EC(S, S) + D_EC(T, T) ≤ 2·D_EC(S, T).

    - With a = 1, Lemma 3 fails for single points at a distance d < 1: ½·D_EN² = d > d² = D_EC.
    - With a = 2, equal means suffice for D_EN = 0, which is equality in Corollary 1. With a < 2,
      D_EN = 0 means S = T.

    Raises `UserError` for a power outside (0, 2], where D_EN² may be negative.
    """
    if not (math.isfinite(power) and 0.0 < power <= 2.0):
        raise UserError(f"energy_distance: power is {power}, but must be in (0, 2]")
    first, second = _checked(first, second)
    if power == 2.0:
        distance = 2.0 * (first.mean(dim=0) - second.mean(dim=0)).square().sum()
    else:
        across = _mean_power(first, second, power)
        within = _mean_power(first, first, power) + _mean_power(second, second, power)
        distance = (2.0 * across - within).clamp_min(0.0)  # rounding alone can go below 0
    return distance if squared else distance.sqrt()


def _mean_power(first: Tensor, second: Tensor, power: float) -> Tensor:
    """Mean of ‖u − v‖^power over all pairs."""
    exact = "donot_use_mm_for_euclid_dist"  # the faster mode cancels for near points
    distances = torch.cdist(first, second, compute_mode=exact)
    # For power < 1, a point's distance to itself has an infinite gradient. It is constant: mask it.
    apart = distances > 0.0
    powers = torch.where(apart, distances, 1.0).pow(power)
    return torch.where(apart, powers, 0.0).mean()


def _checked(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    sizes = f"{list(first.shape)} and {list(second.shape)}"
    if first.dim() != 2 or second.dim() != 2 or first.shape[1] != second.shape[1]:
        raise UserError(f"point sets must be [n, D] and [m, D] with one D, but are {sizes}")
    if len(first) == 0 or len(second) == 0:
        raise UserError(f"a point set is empty: the sets are {sizes}")
    return at_least_float32(first), at_least_float32(second)
