"""The range test: made-up loss curves with answers by hand, and what a measurement may touch."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pcsearch.training.lr_range_test import (
    LossCurve,
    RangeTestError,
    growing_rates,
    lr_range,
    measure_curve,
    smoothed,
)
from tests.training.helpers import MemoryBatches, perceptron, settings

RATES = growing_rates("sgd")  # RATES[10 * k] is 10^(k - 5)


CHANCE = 2.3


def curve(*parts: tuple[int, float], chance: float = CHANCE) -> LossCurve:
    """A loss for so many steps, then the next one."""
    return LossCurve(RATES, tuple(loss for count, loss in parts for _ in range(count)), chance)


def test_rates_grow_by_one_factor() -> None:
    assert len(RATES) == 51
    assert RATES[0] == 1e-5
    assert RATES[-1] == pytest.approx(1.0)
    assert RATES[20] == pytest.approx(1e-3)
    adamw = growing_rates("adamw")
    assert (adamw[0], adamw[-1]) == (1e-6, pytest.approx(0.1))


def test_falls_then_explodes_at_once() -> None:
    # low at steps 20 to 34, infinite from step 35 on: 35 is the first whose window has 3 of 5
    # infinite; the last good rate is 10^(34/10 - 5) = 0.0251. A fifth of the next is less.
    falls = curve((20, 2.3), (15, 1.5))
    assert lr_range([falls]) == (0.0005, 0.025)


def test_rises_early_but_is_lost_late() -> None:
    # 0.4 above the minimum from step 20 (0.001) on, 5 above it from step 40 (0.1) on: 0.1 / 5
    rises = curve((10, 2.35), (10, 2.25), (20, 2.65), (11, 7.0))
    assert lr_range([rises]) == (0.0004, 0.02)


def test_one_that_had_learned_before_it_rose_goes_by_its_rise() -> None:
    # 1.0 below chance before; the last rate before the rise is 10^(19/10 - 5) = 0.00079
    rises = curve((10, 2.3), (10, 1.3), (20, 1.7), (11, 7.0))
    assert lr_range([rises]) == (1.6e-05, 0.00079)


def test_rises_clearly_and_is_never_lost() -> None:
    # from step 46 on; the last rate before is 10^(45/10 - 5) = 0.316
    rises = curve((30, 3.0), (16, 2.9), (5, 3.3))
    assert lr_range([rises]) == (0.0063, 0.32)


def test_never_rises() -> None:
    assert lr_range([curve((40, 2.3), (11, 1.0))]) == (0.02, 1.0)


def test_back_to_chance_is_a_rise_too() -> None:
    # chance is 0.3 above the minimum: 0.21 of that, from step 35 on, is clear; 0.2 is not
    collapses = curve((10, 2.6), (25, 2.0), (16, 2.21))
    assert lr_range([collapses]) == (0.0005, 0.025)
    assert lr_range([curve((10, 2.6), (25, 2.0), (16, 2.2))]) == (0.02, 1.0)


def test_chance_is_the_loss_of_equal_probabilities() -> None:
    smoothing = settings(lambda_=3.0, label_smoothing=0.1)
    entropic = settings(lambda_=0.5, variant="entropic")
    for chosen, chance in ((smoothing, math.log(3)), (entropic, 0.5 * math.log(3))):
        found = measure_curve(perceptron(), MemoryBatches(), chosen, 3, device="cpu", steps=2)
        assert found.chance == pytest.approx(chance)


def test_a_loss_below_zero_is_as_good_as_any() -> None:
    """A rewarded entropy makes it so; multiples of the minimum would mean nothing."""
    shifted = curve((10, -7.7), (10, -7.75), (20, -7.35), (11, -3.0), chance=-7.7)
    assert lr_range([shifted]) == (0.0004, 0.02)


def test_single_batches_do_not_matter() -> None:
    clean = curve((20, 2.3), (15, 1.5), (16, 9.0))
    losses = list(clean.losses)
    losses[12], losses[25], losses[31] = 50.0, 8.0, 0.1
    assert lr_range([LossCurve(RATES, tuple(losses), CHANCE)]) == lr_range([clean])


@given(st.lists(st.floats(-0.15, 0.15), min_size=102, max_size=102))
def test_noise_moves_the_end_by_the_window_at_most(noise: list[float]) -> None:
    clean = curve((20, 2.3), (15, 1.5), (16, 9.0))
    curves = [
        LossCurve(RATES, tuple(a + b for a, b in zip(clean.losses, part, strict=True)), CHANCE)
        for part in (noise[:51], noise[51:])
    ]
    _, upper = lr_range(curves)
    assert RATES[32] * 0.99 <= upper <= RATES[36]


def test_curves_are_pooled_and_an_ended_one_is_infinite() -> None:
    short, long = curve((48, 1.0)), curve((51, 3.0))
    pooled = smoothed([short, long])
    assert pooled[0] == pooled[45] == 2.0  # as many ones as threes
    assert pooled[46] == 3.0  # of 10 losses four are 1, five 3, one infinite
    assert pooled[50] == math.inf  # of 6 losses three are 3, three infinite


@pytest.mark.parametrize(
    ("losses", "part"),
    [
        (((1, math.inf),), "not finite, or rises, from the first"),
        (((1, 2.0), (1, math.inf)), "not finite, or rises, from the first"),
        (((2, 2.0), (49, 9.0)), "not finite, or rises, from the first"),
        (((51, 2.302),), "neither falls nor rises"),
    ],
)
def test_no_range(losses: tuple[tuple[int, float], ...], part: str) -> None:
    with pytest.raises(RangeTestError, match=part):
        lr_range([curve(*losses)])


def test_updates_are_those_of_the_optimizer_at_growing_rates() -> None:
    """The same by PyTorch alone: SGD with momentum on the batches in their order."""
    chosen = settings(lambda_=0.0, weight_decay=0.01, warmup_epochs=1.0)
    found = measure_curve(perceptron(), MemoryBatches(), chosen, 3, device="cpu", steps=8)
    module, batches = perceptron().module, MemoryBatches()
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0, momentum=0.9, weight_decay=0.01)
    source = (batch for epoch in (1, 2) for batch in batches.epoch(epoch))
    losses = []
    for step in range(8):
        images, labels = next(source)
        optimizer.param_groups[0]["lr"] = 1e-5 * 1e5 ** (step / 7)
        loss = torch.nn.functional.cross_entropy(module(images), labels)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert found.losses == pytest.approx(losses, rel=1e-4)


def test_the_seed_decides_and_the_callers_random_state_stays() -> None:
    def measured(seed: int) -> LossCurve:
        backbone = perceptron(dropout=0.5)
        return measure_curve(
            backbone, MemoryBatches(), settings(seed=seed), 3, device="cpu", steps=9
        )

    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = measured(3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert measured(3) == first
    assert measured(4) != first


def test_it_ends_when_the_loss_is_not_finite() -> None:
    backbone, steps = perceptron(), []
    with torch.no_grad():
        backbone.module[1].weight[0, 0] = math.nan  # type: ignore[index, operator]
    found = measure_curve(
        backbone, MemoryBatches(), settings(), 3, device="cpu", progress=steps.append
    )
    assert found.losses == (math.inf,)
    assert steps == [1]


class Exploding(MemoryBatches):
    """Images that grow a thousandfold from the third epoch on."""

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in super().epoch(epoch):
            yield images * (1000 if epoch > 2 else 1), labels


def test_it_ends_when_three_losses_of_five_are_lost() -> None:
    found = measure_curve(perceptron(), Exploding(), settings(), 3, device="cpu")
    # 5 batches an epoch: the third begins with step 11, and step 13 is its third
    assert len(found.losses) == 13


def test_incomplete_batches_are_left_out() -> None:
    backbone = perceptron(norm=True)  # which takes no batch of one image
    found = measure_curve(backbone, MemoryBatches(images=9), settings(), 3, device="cpu", steps=4)
    assert len(found.losses) == 4


def test_accumulated_batches_make_one_step() -> None:
    batches = MemoryBatches(images=40, batch_size=8)
    chosen = settings(accumulation_steps=5)
    found = measure_curve(perceptron(), batches, chosen, 3, device="cpu", steps=3)
    assert len(found.losses) == 3
    assert batches.asked == [1, 2, 3]


def test_lambda_changes_the_loss() -> None:
    plain = measure_curve(perceptron(), MemoryBatches(), settings(), 3, device="cpu", steps=5)
    chosen = settings(lambda_=3.0)
    confused = measure_curve(perceptron(), MemoryBatches(), chosen, 3, device="cpu", steps=5)
    assert confused.losses[0] > plain.losses[0]


def test_the_network_of_a_test_learns_at_its_range() -> None:
    """Digits-like data: the range holds a rate that learns, and none at its end diverges."""
    curves = [
        measure_curve(perceptron(seed=s), MemoryBatches(), settings(seed=s), 3, device="cpu")
        for s in (0, 1)
    ]
    low, high = lr_range(curves)
    assert 1e-5 < low < high <= 1.0
