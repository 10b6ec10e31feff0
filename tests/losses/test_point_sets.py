"""Point-set confusion and energy distance against naive loops over explicit pairs."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pcsearch.errors import UserError
from pcsearch.losses import energy_distance, point_set_confusion


def random_sets(n: int, m: int, classes: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n + m, classes, generator=generator, dtype=torch.float64)
    points = logits.softmax(-1)
    return points[:n], points[n:]


def naive_mean_power(first: Tensor, second: Tensor, power: float) -> float:
    total = 0.0
    for u in first.tolist():
        for v in second.tolist():
            total += math.dist(u, v) ** power
    return total / (len(first) * len(second))


sizes = st.integers(1, 6)


@given(sizes, sizes, st.integers(2, 9), st.integers(0, 10_000))
@settings(max_examples=50, deadline=None)
def test_confusion_is_the_mean_over_all_pairs(n: int, m: int, classes: int, seed: int) -> None:
    first, second = random_sets(n, m, classes, seed)
    expected = naive_mean_power(first, second, 2)
    assert point_set_confusion(first, second).item() == pytest.approx(expected, abs=1e-12)


@given(sizes, sizes, st.sampled_from([0.5, 1.0, 1.5, 2.0]), st.integers(0, 10_000))
@settings(max_examples=50, deadline=None)
def test_energy_distance_is_equation_8(n: int, m: int, power: float, seed: int) -> None:
    first, second = random_sets(n, m, 5, seed)
    expected = 2 * naive_mean_power(first, second, power)
    expected -= naive_mean_power(first, first, power) + naive_mean_power(second, second, power)
    value = energy_distance(first, second, power)
    assert value.item() == pytest.approx(expected, abs=1e-12)
    root = energy_distance(first, second, power, squared=False).item()
    assert root == pytest.approx(math.sqrt(max(expected, 0.0)), abs=1e-6)


def test_near_sets_do_not_cancel() -> None:
    """Two single points 1e-4 apart on one axis, in float32: D_EC = 1e-8, far below its rounding."""
    first = torch.tensor([[0.5, 0.5]])
    second = torch.tensor([[0.5, 0.5001]])
    exact = (float(second[0, 1]) - 0.5) ** 2
    assert point_set_confusion(first, second).item() == pytest.approx(exact, rel=1e-6)
    assert energy_distance(first, second).item() == pytest.approx(2 * exact, rel=1e-6)
    assert energy_distance(first, second, 1.0).item() == pytest.approx(2 * math.sqrt(exact))


@pytest.mark.parametrize("power", [0.5, 1.0, 1.5, 2.0])
def test_gradcheck(power: float) -> None:
    first, second = (part.clone().requires_grad_() for part in random_sets(3, 4, 4, seed=5))
    assert torch.autograd.gradcheck(lambda a, b: energy_distance(a, b, power), (first, second))
    assert torch.autograd.gradcheck(point_set_confusion, (first, second))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_precision(dtype: torch.dtype) -> None:
    first, second = (part.to(dtype) for part in random_sets(3, 2, 6, seed=6))
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    value = point_set_confusion(first, second)
    assert value.dtype == energy_distance(first, second, 1.0).dtype == wide
    assert value.item() == pytest.approx(naive_mean_power(first, second, 2), rel=1e-5)


@pytest.mark.parametrize("power", [0.0, -1.0, 2.1, math.nan, math.inf])
def test_powers_outside_the_range_are_refused(power: float) -> None:
    first, second = random_sets(2, 2, 3, seed=0)
    with pytest.raises(UserError, match="must be in"):
        energy_distance(first, second, power)


def test_sets_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match=r"\[2, 3\] and \[2, 4\]"):
        point_set_confusion(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(UserError, match="one D"):
        energy_distance(torch.zeros(3), torch.zeros(3))
    with pytest.raises(UserError, match="empty"):
        point_set_confusion(torch.zeros(0, 3), torch.zeros(2, 3))
