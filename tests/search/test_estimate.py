"""Estimates against hand-worked ladders, real ladders in random order, and real campaigns."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcsearch.search.asha import Ladder
from pcsearch.search.budget import SLACK
from pcsearch.search.estimate import (
    Work,
    estimate,
    ladder,
    remaining_seconds,
    training_seconds,
)
from pcsearch.search.plan import Plan
from tests.cli.campaigns import arm, drive, plan, silent

ARMS = (arm("control", trials=1), arm("pc", trials=1))


def test_ladder_of_three_trials_by_hand() -> None:
    # Arrivals 1, 2, 3 at epoch 1 continue with probability 1, 1/2, 1/3: 11/6 reach epoch 3.
    # There 1 + (5/6)/2 = 17/12 continue to the full budget.
    first, second, full = ladder(3, plan())
    assert (first.epoch, first.trials) == (1, 3.0)
    assert (second.epoch, second.trials) == (3, pytest.approx(11 / 6))
    assert (full.epoch, full.trials) == (9, pytest.approx(17 / 12))


def test_ladder_agrees_with_real_ladders_in_random_order() -> None:
    one = plan()
    reached = dict.fromkeys((1, 3, 9), 0)
    rounds = 400
    for seed in range(rounds):
        real = Ladder(9, 1, 3)
        heights = random.Random(seed).sample(range(1000), 12)
        for trial, height in enumerate(heights):
            for epoch in (1, 3, 9):
                reached[epoch] += 1
                if not real.record(str(trial), epoch, height):
                    break
    for level in ladder(12, one):
        assert reached[level.epoch] / rounds == pytest.approx(level.trials, rel=0.12)


def test_no_rung_means_that_all_trials_run_to_the_end() -> None:
    flat = plan().model_copy(update={"grace_epochs": 9})
    assert [(level.epoch, level.trials) for level in ladder(5, flat)] == [(9, 5.0)]


def test_estimate_of_single_trials_is_exact() -> None:
    # One trial an arm always runs to 9 epochs; a finalist is retrained twice; 3 seeds confirm.
    whole = estimate(plan(arms=ARMS, studies=("digits/compact_cnn",)))
    (study,) = whole.studies
    assert (study.search_trials, study.finalist_trials, study.confirm_trials) == (2, 4, 6)
    assert whole.trials == 12
    assert whole.at_most.epochs == whole.expected.epochs == 9 * 12
    # Confirm trains on 1000 images where search trials see 800.
    assert whole.expected.search_epochs == pytest.approx(9 * 6 + 9 * 6 * 1000 / 800)


def test_single_control_searches_nothing() -> None:
    arms = (arm("control", borrows="pc"), arm("pc", trials=4))
    (study,) = estimate(plan(arms=arms, studies=("digits/compact_cnn",))).studies
    assert (study.search_trials, study.finalist_trials, study.confirm_trials) == (4, 4, 6)


@given(
    trials=st.integers(1, 40),
    seeds=st.integers(0, 5),
    finalists=st.tuples(st.integers(0, 5), st.integers(0, 3)),
)
def test_expected_never_exceeds_at_most(
    trials: int, seeds: int, finalists: tuple[int, int]
) -> None:
    arms = (arm("control", trials), arm("pc", trials))
    whole = estimate(plan(arms=arms, seeds=seeds, finalists=finalists))
    assert 0 < whole.expected.epochs <= whole.at_most.epochs + 1e-9
    assert whole.expected.search_epochs >= whole.expected.epochs - 1e-9
    levels = [level.trials for level in ladder(trials, plan())]
    assert levels == sorted(levels, reverse=True)
    assert levels[-1] >= 1 - 1e-9


def test_at_most_is_what_a_campaign_without_early_stopping_runs() -> None:
    one = plan().model_copy(update={"grace_epochs": 9})
    state = drive(one, listener=silent).state
    assert estimate(one).at_most.epochs == sum(len(t.epochs) for t in state.trials.values())
    assert estimate(one).trials == len(state.trials)


def test_training_seconds() -> None:
    assert training_seconds(Work(20, 10), 6.0) == pytest.approx(60 * SLACK)


def remaining_at(one: Plan, until: float, width: int = 1) -> float | None:
    return remaining_seconds(drive(one, listener=silent, width=width, until=until).state, width)


def test_remaining_time_is_unknown_before_the_first_epoch_and_none_at_the_end() -> None:
    one = plan()
    assert remaining_at(one, until=0) is None
    assert remaining_at(one, until=float("inf")) == 0


def test_remaining_time_by_hand() -> None:
    # After 1 of 9 epochs of the only search trial: 8 epochs are left, then 2 finalist trials of 9,
    # then 3 confirm trials of 9 that take 1000/800 as long.
    one = plan(arms=(arm("pc", trials=1),), studies=("digits/compact_cnn",))
    assert remaining_at(one, until=1) == pytest.approx(
        SLACK * (8 + 2 * 2 * 9 - 18 + 3 * 9 * 1000 / 800)
    )


def test_trials_that_wait_count_with_their_expected_epochs() -> None:
    only_search = {"seeds": 0, "finalists": (0, 0), "studies": ("digits/compact_cnn",)}
    one = remaining_at(plan(arms=(arm("pc", trials=1),), **only_search), until=1)
    three = remaining_at(plan(arms=(arm("pc", trials=3),), **only_search), until=1)
    # Three trials run 3 + 2·11/6 + 6·17/12 = 91/6 epochs; two of them wait.
    assert three is not None
    assert one is not None
    assert three - one == pytest.approx(SLACK * 2 / 3 * 91 / 6)
