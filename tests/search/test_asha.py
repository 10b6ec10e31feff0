"""The rungs and the rule, against hand-worked tables and a naive reading of the rule."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsearch.search.asha import Ladder, Noise, rungs
from pcsearch.search.trial import TrialSpec
from tests.search.driving import control_arm, make_plan, run, study_plan


@pytest.mark.parametrize(
    ("max_epochs", "grace", "factor", "expected"),
    [
        (9, 1, 3, (1, 3)),  # 9 itself is no rung: who gets there is done
        (10, 1, 3, (1, 3, 9)),
        (30, 2, 4, (2, 8)),
        (1, 1, 2, ()),
        (4, 4, 2, ()),
    ],
)
def test_rungs_lie_below_the_full_budget(
    max_epochs: int, grace: int, factor: int, expected: tuple[int, ...]
) -> None:
    assert rungs(max_epochs, grace, factor) == expected


def test_a_hand_worked_rung() -> None:
    """η = 3. k: allowed = max(1, ⌊k/3⌋); a trial continues iff fewer than that are larger."""
    ladder = Ladder(9, 1, 3)
    arrivals = [
        (50, True),  # k=1: none larger
        (40, False),  # k=2: one larger, one allowed → not fewer
        (60, True),  # k=3: the best
        (60, True),  # k=4: equal is not strictly larger
        (55, False),  # k=5: 60, 60 larger, one allowed
        (58, False),  # k=6: two allowed, two larger
        (59, False),  # k=7: 60, 60
        (61, True),  # k=8: the best
        (60, True),  # k=9: three allowed; only 61 is larger
    ]
    for number, (value, continues) in enumerate(arrivals):
        assert ladder.record(f"trial-{number}", 1, value) is continues, number
    assert ladder.values(1) == (40, 50, 55, 58, 59, 60, 60, 60, 61)
    assert ladder.values(3) == ()


values = st.lists(st.integers(0, 20).map(float), max_size=40)


@given(values, st.integers(2, 5))
def test_the_rule_recomputed_naively(arrivals: list[float], factor: int) -> None:
    ladder = Ladder(100, 1, factor)
    for number, value in enumerate(arrivals):
        so_far = arrivals[: number + 1]
        larger = sum(other > value for other in so_far)
        allowed = max(1, math.floor(len(so_far) / factor))
        assert ladder.would_continue(1, value) is (larger < allowed)
        assert ladder.record(str(number), 1, value) is (larger < allowed)


@given(values.filter(bool))
def test_the_best_at_a_rung_always_continues(arrivals: list[float]) -> None:
    ladder = Ladder(9, 1, 3)
    decisions = [ladder.record(str(n), 1, value) for n, value in enumerate(arrivals)]
    best_first = arrivals.index(max(arrivals))
    assert decisions[best_first]


def test_records_are_idempotent_and_other_epochs_are_no_rung() -> None:
    ladder = Ladder(9, 1, 3)
    ladder.record("a", 1, 50.0)
    assert ladder.record("b", 1, 40.0) is False
    assert ladder.record("a", 1, 0.0) is True
    assert ladder.record("b", 1, 99.0) is False
    assert ladder.values(1) == (40.0, 50.0)
    assert ladder.record("b", 2, 1.0) is True


def test_the_standard_error_of_an_accuracy_by_hand() -> None:
    noise = Noise(images=100, chance=10.0)
    assert noise.standard_error(50.0) == pytest.approx(5.0)  # √(0.5 · 0.5 / 100)
    assert noise.standard_error(10.0) == pytest.approx(3.0)  # √(0.1 · 0.9 / 100)
    assert noise.standard_error(0.0) == noise.standard_error(100.0) == 0.0
    assert noise.standard_error(-3.0) == noise.standard_error(104.0) == 0.0
    assert Noise(400, 10.0).standard_error(50.0) == pytest.approx(2.5)


def test_what_is_unclear_by_hand() -> None:
    """At 50 % one standard error is 5 points; guessing goes up to 10 + 2 · 3 = 16 %."""
    noise = Noise(images=100, chance=10.0)
    assert noise.unclear(45.01, 50.0)
    assert not noise.unclear(45.0, 50.0)
    assert noise.unclear(0.0, 16.0), "the cut itself may be a guess"
    assert not noise.unclear(0.0, 16.01)


def test_a_hand_worked_noisy_rung() -> None:
    """η = 3, 100 images, guessing at 10 %: 5 points at 50 %, 4.9 at 60 %.

    A trial that the plain rule stops continues within one standard error of the lowest that
    continues, unless two thirds of all values there, its own included, are larger.
    """
    ladder = Ladder(9, 1, 3, Noise(100, 10.0))
    arrivals = [
        (50.0, True),  # k=1
        (46.0, True),  # k=2: one of two is larger; 50 − 46 < 5
        (44.0, False),  # k=3: two of three are larger, so it is among the worst third
        (60.0, True),  # k=4: the best
        (55.5, True),  # k=5: the plain rule allows one, 60; 60 − 55.5 < 4.9
        (55.0, True),  # k=6: two are allowed, 60 and 55.5, where one error is 4.97
        (50.0, False),  # k=7: 55.5 − 50 > 4.97
    ]
    for number, (value, continues) in enumerate(arrivals):
        assert ladder.record(f"trial-{number}", 1, value) is continues, number
    plain = Ladder(9, 1, 3)
    assert [plain.record(str(n), 1, value) for n, (value, _) in enumerate(arrivals)] == [
        True, False, False, True, False, False, False,
    ]  # fmt: skip


def test_while_all_guess_only_the_worst_third_stops() -> None:
    ladder = Ladder(9, 1, 3, Noise(100, 10.0))
    for number, value in enumerate((12.0, 11.0)):
        assert ladder.record(str(number), 1, value)
    assert not ladder.record("2", 1, 10.0), "two of three are larger"
    assert ladder.record("3", 1, 10.5), "two of four are"


@given(
    st.lists(st.floats(0, 100), max_size=40),
    st.integers(2, 5),
    st.integers(1, 1000),
    st.floats(0.1, 50),
)
def test_noise_only_ever_continues_more_than_the_plain_rule(
    arrivals: list[float], factor: int, images: int, chance: float
) -> None:
    plain, noisy = Ladder(9, 1, factor), Ladder(9, 1, factor, Noise(images, chance))
    for number, value in enumerate(arrivals):
        stays, may_stay = (ladder.record(str(number), 1, value) for ladder in (plain, noisy))
        assert may_stay or not stays
        assert plain.values(1) == noisy.values(1)


@given(values, st.integers(2, 5), st.integers(1, 1000))
def test_the_noisy_rule_recomputed_naively(arrivals: list[float], factor: int, images: int) -> None:
    ladder = Ladder(100, 1, factor, Noise(images, 5.0))
    for number, value in enumerate(arrivals):
        so_far = sorted(arrivals[: number + 1], reverse=True)
        larger = sum(other > value for other in so_far)
        allowed = max(1, math.floor(len(so_far) / factor))
        continues = larger < allowed
        if not continues and larger < 2 * len(so_far) / 3:
            # the larger ones come first, so the lowest that continues is not its own value
            cut = so_far[allowed - 1]
            error = math.sqrt(cut * (100 - cut) / images)
            guess = 5.0 + 2 * math.sqrt(5.0 * 95.0 / images)
            continues = cut - value < error or cut <= guess
        assert ladder.record(str(number), 1, value) is continues


@given(
    heights=st.lists(st.floats(0, 100), min_size=24, max_size=24),
    max_concurrent=st.integers(1, 9),
    order_seed=st.integers(0, 99),
    wanted=st.integers(0, 12),
    rule=st.sampled_from(["noise", "plain"]),
    factor=st.integers(2, 4),
)
@settings(max_examples=40, deadline=None)
def test_as_many_trials_as_wanted_are_trained_to_the_end(
    heights: list[float], max_concurrent: int, order_seed: int, wanted: int, rule: str, factor: int
) -> None:
    """Whatever the curves, the trials at once and the order in which they report."""

    def curve(spec: TrialSpec, epoch: int) -> float:
        return heights[spec.index + 12 * (spec.arm == "pc")] * (1 - 0.5**epoch)

    plan = make_plan(
        sampler="random", confirm_seeds=(), reduction_factor=factor, rung_rule=rule,
        full_trainings=wanted,
    )  # fmt: skip
    state = run(plan, curve, max_concurrent=max_concurrent, order_seed=order_seed).state
    for arm in state.arms.values():
        assert arm.complete >= max(1, wanted)
        assert arm.complete == sum(t.state == "COMPLETE" for t in arm.trials["search"])


def test_full_trainings_spare_no_more_than_they_must() -> None:
    """With one trial at a time and ever worse ones, the last four are trained to the end."""
    plan = make_plan(
        studies=(study_plan(arms=(control_arm(12),)),), confirm_seeds=(), full_trainings=5,
    )  # fmt: skip
    curve = lambda spec, epoch: 90.0 - spec.index - 1 / epoch  # noqa: E731
    trials = run(plan, curve).state.arms["digits/compact_cnn", "control"].trials["search"]
    assert [t.state for t in trials] == ["COMPLETE"] + ["PRUNED"] * 7 + ["COMPLETE"] * 4
