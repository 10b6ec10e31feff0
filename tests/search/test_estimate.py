"""Estimates against hand-worked ladders, real ladders in random order, and real campaigns."""

from __future__ import annotations

from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsearch.search.budget import SLACK
from pcsearch.search.estimate import (
    Work,
    estimate,
    expected_epochs,
    ladder,
    remaining_seconds,
    training_seconds,
)
from pcsearch.search.plan import Plan, StudyPlan
from pcsearch.search.state import CampaignState
from tests.cli.campaigns import arm, drive, plan, silent
from tests.search.driving import pc_arm

ARMS = (arm("control", trials=1), arm("pc", trials=1))


def test_ladders_by_hand() -> None:
    # The second of two trials passes if it is the better one; then it is the better one at every
    # rung. Of three, only a new best passes: 1 + 1/2 + 1/3.
    for trials, passing in ((1, 1.0), (2, 3 / 2), (3, 11 / 6)):
        first, second, full = ladder(pc_arm(trials), plan(), plan().studies[0])
        assert (first.epoch, first.trials) == (1, trials)
        assert (second.epoch, full.epoch) == (3, 9)
        assert second.trials == full.trials == pytest.approx(passing, abs=0.02)
        epochs = expected_epochs(pc_arm(trials), plan(), plan().studies[0])
        assert epochs == pytest.approx(trials + 8 * full.trials)


def test_first_rung_agrees_with_the_uniform_rank_of_each_arrival() -> None:
    # The k-th arrival passes with probability max(1, k // 3) / k.
    exact = sum(max(1, k // 3) / k for k in range(1, 13))
    assert ladder(pc_arm(12), plan(), plan().studies[0])[1].trials == pytest.approx(exact, rel=0.03)


@pytest.mark.parametrize("full", [0, 4, 12])
def test_ladder_agrees_with_campaigns(full: int) -> None:
    counts = []
    for seed in range(12):
        one = plan(("digits/compact_cnn",), finalists=(0, 0), seeds=0, arms=(arm("pc", 12),))
        changes = {"seed": seed, "full_trainings": full}
        state = drive(one.model_copy(update=changes), listener=silent, max_concurrent=1).state
        counts.append(sum(len(trial.epochs) for trial in state.trials.values()))
    sparing = plan().model_copy(update={"full_trainings": full})
    expected = expected_epochs(pc_arm(12), sparing, sparing.studies[0])
    assert fmean(counts) == pytest.approx(expected, rel=0.2 if full < 12 else 0)
    assert ladder(pc_arm(12), sparing, sparing.studies[0])[-1].trials >= full


def test_full_trainings_by_hand() -> None:
    """Of two trials one is the better one; both are trained to the end where both are wanted."""
    both = plan().model_copy(update={"full_trainings": 5})
    assert [level.trials for level in ladder(pc_arm(2), both, both.studies[0])] == [2, 2, 2]
    one = plan().model_copy(update={"full_trainings": 1})
    best, plain = (
        ladder(pc_arm(2), one, one.studies[0]),
        ladder(pc_arm(2), plan(), plan().studies[0]),
    )
    assert best == plain, "the best is trained to the end in any case"


def test_no_rung_means_that_all_trials_run_to_the_end() -> None:
    flat = plan().model_copy(update={"grace_epochs": 9})
    assert [(level.epoch, level.trials) for level in ladder(pc_arm(5), flat, flat.studies[0])] == [
        (9, 5.0)
    ]


def test_estimate_of_single_trials_is_exact() -> None:
    # One trial an arm always runs to 9 epochs; each arm retrains both twice; 3 seeds confirm.
    whole = estimate(plan(arms=ARMS, studies=("digits/compact_cnn",)))
    (study,) = whole.studies
    assert (study.search_trials, study.finalist_trials, study.confirm_trials) == (2, 8, 6)
    assert whole.trials == 16
    assert whole.at_most.epochs == whole.expected.epochs == 9 * 16
    # Confirm trains on 1000 images where search trials see 800.
    assert whole.expected.search_epochs == pytest.approx(9 * 10 + 9 * 6 * 1000 / 800)


def test_single_control_searches_nothing() -> None:
    arms = (arm("control", borrows="pc"), arm("pc", trials=4))
    (study,) = estimate(plan(arms=arms, studies=("digits/compact_cnn",))).studies
    assert (study.search_trials, study.finalist_trials, study.confirm_trials) == (4, 4, 6)


@settings(deadline=None)
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
    levels = [level.trials for level in ladder(pc_arm(trials), plan(), plan().studies[0])]
    assert levels == sorted(levels, reverse=True)
    assert levels[-1] >= 1 - 1e-9


def test_at_most_is_what_a_campaign_without_early_stopping_runs() -> None:
    one = plan().model_copy(update={"grace_epochs": 9})
    state = drive(one, listener=silent).state
    spared = sum(shared_rates(state, study) * 2 for study in one.studies)
    assert estimate(one).trials == len(state.trials) + spared * one.finalist_repeats
    epochs = sum(len(t.epochs) for t in state.trials.values())
    assert estimate(one).at_most.epochs == epochs + spared * one.finalist_repeats * one.max_epochs


def shared_rates(state: CampaignState, study: StudyPlan) -> int:
    """Best configurations that differ in nothing that arms share: each arm retrains one of two."""
    best = [state.arms[study.id, arm.name].best(state.plan.finalist_configs) for arm in study.arms]
    control, pc = ({trial.spec.config["lr"] for trial in trials} for trials in best)
    return len(control & pc)


def test_training_seconds() -> None:
    assert training_seconds(Work(20, 10), 6.0) == pytest.approx(60 * SLACK)


def remaining_at(one: Plan, until: float, max_concurrent: int = 1) -> float | None:
    return remaining_seconds(
        drive(one, listener=silent, max_concurrent=max_concurrent, until=until).state,
        max_concurrent,
    )


def test_remaining_time_is_unknown_before_the_first_epoch_and_none_at_the_end() -> None:
    one = plan()
    assert remaining_at(one, until=0) is None
    assert remaining_at(one, until=float("inf")) == 0


def test_remaining_time_by_hand() -> None:
    # After 1 of 9 epochs of the only search trial: 8 epochs are left, then 2 finalist trials of 9,
    # then 3 confirm trials of 9 that take 1000/800 as long.
    one = plan(arms=(arm("pc", 1),), studies=("digits/compact_cnn",), finalists=(1, 2))
    expected = SLACK * (8 + 2 * 9 + 3 * 9 * 1000 / 800)
    assert remaining_at(one, until=1) == pytest.approx(expected)


def test_trials_that_wait_count_with_their_expected_epochs() -> None:
    only_search = {"seeds": 0, "finalists": (0, 0), "studies": ("digits/compact_cnn",)}
    one = remaining_at(plan(arms=(arm("pc", trials=1),), **only_search), until=1)
    three = remaining_at(plan(arms=(arm("pc", trials=3),), **only_search), until=1)
    # Two of the three trials wait, a mean of a third of the expected epochs each.
    assert three is not None
    assert one is not None
    waiting = 2 / 3 * expected_epochs(pc_arm(3), plan(), plan().studies[0])
    assert three - one == pytest.approx(SLACK * waiting)
