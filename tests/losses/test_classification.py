"""Cross-entropy and its relatives against sums written out in Python."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from pcsearch.losses import VARIANTS, PairwiseConfusionLoss, classification_loss

LOGITS = ((1.0, 2.0, 0.5), (0.0, -1.0, 3.0), (2.0, 2.0, 2.0), (-4.0, 0.0, 12.0))
LABELS = (0, 2, 1, 2)


def naive(
    rows: Sequence[Sequence[float]],
    targets: Sequence[Sequence[float]],
    smoothing: float = 0.0,
    gamma: float = 0.0,
    tau: float = 0.0,
    weights: Sequence[float] = (1.0, 1.0, 1.0),
) -> float:
    total = 0.0
    for logits, target in zip(rows, targets, strict=True):
        if tau:
            norm = math.sqrt(sum(z * z for z in logits))
            logits = [z / (tau * (norm + 1e-7)) for z in logits]
        exps = [math.exp(z) for z in logits]
        for exp, share, weight in zip(exps, target, weights, strict=True):
            p = exp / sum(exps)
            smooth = (1 - smoothing) * share + smoothing / len(logits)
            total -= weight * smooth * (1 - p) ** gamma * math.log(p)
    return total / len(rows)


def one_hot(labels: Sequence[int], classes: int = 3) -> list[list[float]]:
    return [[float(k == label) for k in range(classes)] for label in labels]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("tau", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("weights", [None, (0.5, 2.0, 1.25)])
def test_values(
    smoothing: float,
    gamma: float,
    tau: float,
    mixed: bool,
    weights: tuple[float, float, float] | None,
) -> None:
    targets = [[0.3, 0.7, 0.0], [0, 0, 1], [0.5, 0, 0.5], [0.9, 0, 0.1]] if mixed else None
    found = classification_loss(
        torch.tensor(LOGITS, dtype=torch.float64),
        torch.tensor(LABELS) if targets is None else torch.tensor(targets, dtype=torch.float64),
        label_smoothing=smoothing,
        focal_gamma=gamma,
        logit_norm=tau,
        class_weights=None if weights is None else torch.tensor(weights, dtype=torch.float64),
    )
    wanted = naive(
        LOGITS, targets or one_hot(LABELS), smoothing, gamma, tau, weights or (1.0, 1.0, 1.0)
    )
    assert found.item() == pytest.approx(wanted, rel=1e-9)


def test_with_everything_off_it_is_cross_entropy_bit_for_bit() -> None:
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    assert torch.equal(classification_loss(logits, labels), F.cross_entropy(logits, labels))


def test_class_weights_by_hand() -> None:
    """Equal logits: each image costs log 2 times its class's weight, divided by the images."""
    logits, labels = torch.zeros(4, 2), torch.tensor([0, 0, 0, 1])
    weights = torch.tensor([0.5, 2.5])
    found = classification_loss(logits, labels, class_weights=weights)
    assert found.item() == pytest.approx((3 * 0.5 + 2.5) / 4 * math.log(2))
    # PyTorch's own mean divides by the sum of the batch's weights: here by 4, as well
    assert found.item() == pytest.approx(F.cross_entropy(logits, labels, weights).item())
    part = classification_loss(logits[:2], labels[:2], class_weights=weights)
    assert part.item() == pytest.approx(0.5 * math.log(2))  # PyTorch's would be log 2
    mixed = torch.tensor([[0.8, 0.2]])
    found = classification_loss(torch.zeros(1, 2), mixed, class_weights=weights)
    assert found.item() == pytest.approx((0.8 * 0.5 + 0.2 * 2.5) * math.log(2))


def test_by_hand() -> None:
    even = torch.zeros(1, 2)
    label = torch.tensor([1])
    # p = 1/2: (1 - 1/2)^2 · log 2
    assert classification_loss(even, label, focal_gamma=2).item() == pytest.approx(
        0.25 * math.log(2)
    )
    # (3, 4) / (1 · 5) = (0.6, 0.8): log(1 + e^-0.2)
    two = torch.tensor([[3.0, 4.0]])
    assert classification_loss(two, label, logit_norm=1).item() == pytest.approx(
        math.log1p(math.exp(-0.2)), rel=1e-6
    )


@settings(deadline=None)
@given(st.floats(0.01, 1000))
def test_logit_norm_does_not_see_the_length_of_the_logits(scale: float) -> None:
    logits, labels = torch.tensor(LOGITS, dtype=torch.float64), torch.tensor(LABELS)
    one, other = (
        classification_loss(z, labels, logit_norm=0.1).item() for z in (logits, scale * logits)
    )
    assert one == pytest.approx(other, rel=1e-4)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 3.0])
def test_gradients_stay_finite_where_a_class_is_certain(gamma: float) -> None:
    logits = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
    classification_loss(logits, torch.tensor([0, 0]), focal_gamma=gamma).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_logit_margin_by_hand() -> None:
    # gaps to the maximum: 11 0 12.5 | 0 10 9 -> over 10: 1 and 2.5 of six
    logits = torch.tensor([[1.5, 12.5, 0.0], [10.0, 0.0, 1.0]])
    penalty = VARIANTS["logit_margin"](logits, torch.tensor([0, 1]))
    assert penalty.item() == pytest.approx((1 + 2.5) / 6)


def test_poly1_by_hand() -> None:
    logits = torch.log(torch.tensor([[0.2, 0.8], [0.5, 0.5]]))
    assert VARIANTS["poly1"](logits, torch.tensor([0, 1])).item() == pytest.approx(
        ((1 - 0.2) + (1 - 0.5)) / 2
    )
    mixed = torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    assert VARIANTS["poly1"](logits, mixed).item() == pytest.approx(
        ((1 - (0.25 * 0.2 + 0.75 * 0.8)) + (1 - 0.5)) / 2
    )


def test_gamma_of_mixed_pairs_by_hand() -> None:
    """γ = 1 − Σ t·u: the probability that labels drawn from both targets differ."""
    p = torch.tensor([[0.7, 0.3], [0.4, 0.6]])
    targets = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    gamma = 1 - (0.9 * 0.2 + 0.1 * 0.8)
    distance = 0.3**2 + 0.3**2
    assert VARIANTS["euclidean"](torch.log(p), targets).item() == pytest.approx(
        0.5 * gamma * distance, rel=1e-5
    )


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_one_hot_targets_are_labels(variant: str) -> None:
    logits = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 1, 2, 0, 1, 2])
    loss = PairwiseConfusionLoss(0.7, variant)
    hard, soft = loss(logits, labels), loss(logits, F.one_hot(labels, 3).double())
    assert hard.item() == pytest.approx(soft.item(), rel=1e-9)
