"""The paper's lemmas, Eq. 3 and the erratum, as properties over random distributions."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from pcsearch.losses import (
    energy_distance,
    euclidean_confusion,
    jeffreys_divergence,
    point_set_confusion,
    total_variation,
)

ROUNDING = 1e-12
properties = settings(max_examples=150, deadline=None)


@st.composite
def log_distributions(draw: st.DrawFn, count: int, classes: int | None = None) -> Tensor:
    """[count, N] float64 log-probabilities, from nearly uniform to nearly one-hot."""
    classes = draw(st.integers(2, 8)) if classes is None else classes
    logit = st.floats(-40, 40, allow_nan=False)
    row = st.lists(logit, min_size=classes, max_size=classes)
    rows = draw(st.lists(row, min_size=count, max_size=count))
    return torch.tensor(rows, dtype=torch.float64).log_softmax(-1)


@st.composite
def point_sets(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Two sets of distributions over the same classes, of sizes 1 to 5 each."""
    classes = draw(st.integers(2, 6))
    sizes = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    both = draw(log_distributions(sum(sizes), classes)).exp()
    return both[: sizes[0]], both[sizes[0] :]


@given(log_distributions(2))
@properties
def test_lemma_1_euclidean_confusion_is_below_jeffreys(log_pair: Tensor) -> None:
    p, q = log_pair.exp()
    assert euclidean_confusion(p, q) <= jeffreys_divergence(*log_pair) + ROUNDING


@given(log_distributions(2))
@properties
def test_lemma_2_euclidean_confusion_is_below_four_squared_total_variations(
    log_pair: Tensor,
) -> None:
    p, q = log_pair.exp()
    assert euclidean_confusion(p, q) <= 4 * total_variation(p, q) ** 2 + ROUNDING


delta = st.floats(1e-6, 0.5, exclude_max=True)


@given(delta, delta)
@properties
def test_eq_3_confident_predictions_force_jeffreys_up(delta_1: float, delta_2: float) -> None:
    p = torch.tensor([1 - delta_1, delta_1], dtype=torch.float64)
    q = torch.tensor([delta_2, 1 - delta_2], dtype=torch.float64)
    sure = 1 - delta_1 - delta_2
    assume(sure > 0)
    bound = sure * (2 * math.log(sure) - math.log(delta_1 * delta_2))
    value = jeffreys_divergence(p.log(), q.log()).item()
    assert value >= bound - 1e-9 * max(1.0, abs(bound))


@given(point_sets())
@properties
def test_lemma_3_half_the_squared_energy_distance_is_below_set_confusion(
    sets: tuple[Tensor, Tensor],
) -> None:
    first, second = sets
    assert 0.5 * energy_distance(first, second, power=2) <= (
        point_set_confusion(first, second) + ROUNDING
    )


@given(point_sets())
@properties
def test_corollary_1_confusion_within_is_below_confusion_across(
    sets: tuple[Tensor, Tensor],
) -> None:
    first, second = sets
    within = point_set_confusion(first, first) + point_set_confusion(second, second)
    assert within <= 2 * point_set_confusion(first, second) + ROUNDING


@given(log_distributions(2))
@properties
def test_erratum_lemma_3_fails_for_plain_norms(log_pair: Tensor) -> None:
    """a = 1 as printed: single points at a distance d in (0, 1) give ½·2d = d > d²."""
    p, other = log_pair.exp()[:, None, :]
    q = (p + other) / 2  # two distributions are at most √2 apart, so these less than 1
    distance = torch.dist(p, q).item()
    assume(distance > 1e-6)
    half = 0.5 * energy_distance(p, q, power=1).item()
    assert half == pytest.approx(distance)
    assert half > point_set_confusion(p, q).item()
    assert 0.5 * energy_distance(p, q, power=2) <= point_set_confusion(p, q) + ROUNDING


def test_erratum_the_counterexample_in_numbers() -> None:
    first = torch.tensor([[0.5, 0.5]], dtype=torch.float64)
    second = torch.tensor([[0.8, 0.2]], dtype=torch.float64)
    distance = math.sqrt(0.18)
    assert 0.5 * energy_distance(first, second, power=1).item() == pytest.approx(distance)
    assert point_set_confusion(first, second).item() == pytest.approx(0.18)
    assert 0.5 * energy_distance(first, second, power=2).item() == pytest.approx(0.18)


def test_erratum_equality_in_corollary_1_needs_only_equal_means() -> None:
    first = torch.tensor([[0.5, 0.5]], dtype=torch.float64)
    second = torch.tensor([[0.9, 0.1], [0.1, 0.9]], dtype=torch.float64)
    within = point_set_confusion(first, first) + point_set_confusion(second, second)
    assert within.item() == pytest.approx(2 * point_set_confusion(first, second).item())
    assert within.item() == pytest.approx(0.64)  # four pairs: 0, 0, 1.28, 1.28, and 0 for the first
    assert energy_distance(first, second, power=2).item() == 0.0
    assert energy_distance(first, second, power=1).item() > 0.1
