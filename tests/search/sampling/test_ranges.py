"""The ranges an arm searches: widened once at an end, lowered by divergence, never for others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import pytest

from pcsearch.recipe.search_space import Space
from pcsearch.search.plan import ArmPlan, derive_seed
from pcsearch.search.sampling.ranges import current_space, searched_space
from pcsearch.search.selection import edges_of_ranges
from pcsearch.search.state import CampaignState
from pcsearch.search.trial import TrialState
from tests.search.driving import control_arm, make_plan, pc_arm, run, study_plan

STUDY = "digits/compact_cnn"
LR = Space.between(0.01, 1.0, log=True)
FRACTION = Space.between(0.1, 0.2)
SPACE = {"lr": LR, "lambda_over_n": FRACTION}
Past = tuple[float, float, TrialState, float]
"""A trial's learning rate, λ/N, state and last value; ten classes, so guessing is 10 %."""


def state_of(
    past: Sequence[Past], *, trials: int = 8, arm: ArmPlan | None = None, **changes: Any
) -> CampaignState:
    """A state whose PC arm has had such search trials, of `trials` in all."""
    plan = make_plan(
        studies=(study_plan(arms=(arm or pc_arm(trials, space=SPACE),)),),
        **{"widen": "auto", "startup_trials": 2, **changes},
    )
    state = CampaignState(plan)
    own = plan.studies[0].arms[0]
    for index, (rate, fraction, ended, value) in enumerate(past):
        name = f"{STUDY}/{own.name}/search-{index:03d}"
        config = {"lambda": 10 * fraction, "lambda_over_n": fraction, "lr": rate}
        if own.parameter == "label_smoothing":
            config = {"lambda": 0.0, "lambda_over_n": 0.0, "lr": rate, "label_smoothing": fraction}
        spec = {
            "trial": name, "study": STUDY, "arm": own.name, "phase": "search", "index": index,
            "epochs": 9, "variant": "euclidean", "source": None, "keep_weights": False,
            "config": {**config, "seed": derive_seed(index), "split": 0},
        }  # fmt: skip
        state.apply({"event": "asked", "spec": spec})
        epochs = {"COMPLETE": 9, "PRUNED": 1, "RUNNING": 1}.get(ended, 0)
        for epoch in range(1, epochs + 1):
            last = {"COMPLETE": "complete", "PRUNED": "prune"}.get(ended, "continue")
            decision = last if epoch == epochs else "continue"
            told = {"event": "epoch", "trial": name, "epoch": epoch, "decision": decision}
            state.apply({**told, "value": value, "seconds": 1.0, "metrics": {}})
        if ended in ("DIVERGED", "FAILED"):
            state.apply({"event": ended.lower(), "trial": name, "error": "nan"})
    return state


def now(state: CampaignState) -> dict[str, Space]:
    (study,) = state.plan.studies
    return current_space(state, study, study.arms[0])


def ended(*rates: float, best: int, fraction: float = 0.15) -> list[Past]:
    """Fully trained trials that all learned something, number `best` most."""
    return [
        (rate, fraction, "COMPLETE", 80.0 if n == best else 50.0) for n, rate in enumerate(rates)
    ]


def test_in_the_middle_of_its_ranges_nothing_changes() -> None:
    assert now(state_of(ended(0.1, 0.05, 0.2, 0.3, best=0))) == SPACE


@pytest.mark.parametrize(
    ("rate", "low", "high"),
    [
        (0.95, 0.01, 3.0),
        (0.64, 0.01, 3.0),  # 0.903 of the way from 0.01 to 1, in powers of ten
        (0.62, 0.01, 1.0),  # 0.896
        (0.011, 0.01 / 3, 1.0),
        (0.0158, 0.01 / 3, 1.0),  # 0.099
        (0.0161, 0.01, 1.0),  # 0.103
    ],
)
def test_the_learning_rate_is_widened_threefold_at_the_end_where_the_best_is(
    rate: float, low: float, high: float
) -> None:
    space = now(state_of(ended(0.1, 0.05, rate, 0.3, best=2)))
    assert (space["lr"].low, space["lr"].high) == (pytest.approx(low), pytest.approx(high))
    assert space["lr"].log
    assert space["lambda_over_n"] == FRACTION


@pytest.mark.parametrize(
    ("fraction", "low", "high"), [(0.195, 0.1, 0.4), (0.105, 0.02, 0.2), (0.185, 0.1, 0.2)]
)
def test_the_own_parameter_is_doubled_upwards_or_a_fifth_downwards(
    fraction: float, low: float, high: float
) -> None:
    space = now(state_of(ended(0.1, 0.05, 0.2, 0.3, best=0, fraction=fraction)))
    own = space["lambda_over_n"]
    assert (own.low, own.high) == (pytest.approx(low), pytest.approx(high))
    assert space["lr"] == LR


def test_a_range_is_widened_once() -> None:
    """A best trial beyond the stated end does not open the range any further."""
    space = now(state_of(ended(0.1, 0.05, 0.2, 2.9, best=3)))
    assert space["lr"].high == pytest.approx(3.0)


def test_before_the_middle_of_its_trials_an_arm_widens_nothing() -> None:
    past = ended(0.1, 0.05, 0.95, best=2)
    assert now(state_of(past, trials=7)) == SPACE  # 3 of 7
    assert now(state_of(past, trials=6))["lr"].high == pytest.approx(3.0)  # 3 of 6


def test_label_smoothing_stays_below_one_and_is_never_narrowed() -> None:
    for stated, best, high in (((0.1, 0.3), 0.29, 0.6), ((0.1, 0.6), 0.59, 0.9),
                               ((0.1, 0.95), 0.94, 0.95)):  # fmt: skip
        space = {"lr": LR, "label_smoothing": Space.between(*stated)}
        arm = control_arm(8, name="label_smoothing", parameter="label_smoothing", space=space)
        state = state_of(ended(0.1, 0.05, 0.2, 0.3, best=0, fraction=best), arm=arm)
        assert now(state)["label_smoothing"].high == pytest.approx(high)


def test_choices_and_fixed_values_are_never_widened() -> None:
    space = {"lr": Space.of((0.01, 0.1, 1.0)), "lambda_over_n": Space.fixed(0.2)}
    past = ended(0.1, 0.01, 1.0, 0.1, best=2, fraction=0.2)
    assert now(state_of(past, arm=pc_arm(8, space=space))) == space


def test_a_learning_rate_that_diverges_lowers_the_upper_end() -> None:
    """Half way, in powers of ten, from the best that learns to the lowest that diverges."""
    past: list[Past] = [
        (0.1, 0.15, "COMPLETE", 60.0), (0.9, 0.15, "DIVERGED", 0.0), (0.4, 0.15, "DIVERGED", 0.0),
    ]  # fmt: skip
    space = now(state_of(past))
    assert space["lr"].high == pytest.approx(0.2)  # √(0.1 · 0.4)
    assert space["lr"].low == 0.01
    assert space["lambda_over_n"] == FRACTION


def test_one_that_diverges_below_a_rate_that_learned_lowers_nothing() -> None:
    """Then it was not the learning rate."""
    past: list[Past] = [(0.5, 0.15, "PRUNED", 60.0), (0.1, 0.15, "DIVERGED", 0.0)]
    assert now(state_of(past)) == SPACE


def test_divergence_has_the_last_word_over_a_wider_range() -> None:
    past = [*ended(0.1, 0.05, 0.9, best=2), (0.96, 0.15, "DIVERGED", 0.0)]
    space = now(state_of(past))  # type: ignore[arg-type]
    assert space["lr"].high == pytest.approx((0.9 * 0.96) ** 0.5)


@pytest.mark.parametrize("state", ["COMPLETE", "PRUNED", "DIVERGED"])
def test_while_nothing_is_learned_lower_learning_rates_are_tried(state: TrialState) -> None:
    past: list[Past] = [(0.1, 0.15, state, 11.0), (0.3, 0.15, state, 12.0)]
    space = now(state_of(past))["lr"]
    assert space.low == pytest.approx(0.001)
    # √(0.001 · 0.1) where both diverged
    assert space.high == pytest.approx(0.01 if state == "DIVERGED" else 1.0)
    assert now(state_of([*past, (0.2, 0.15, "PRUNED", 60.0)]))["lr"].low == 0.01


def test_a_little_above_guessing_is_learned_only_beyond_what_chance_explains() -> None:
    """On 20 validation images one standard error of 10 % is 6.7 points."""
    for value, low in ((23.0, 0.001), (24.0, 0.01)):
        past: list[Past] = [(0.1, 0.15, "PRUNED", value), (0.3, 0.15, "PRUNED", 5.0)]
        assert now(state_of(past))["lr"].low == pytest.approx(low)


def test_failures_and_running_trials_say_nothing_of_learning_rates() -> None:
    past: list[Past] = [(0.1, 0.15, "FAILED", 0.0), (0.3, 0.15, "RUNNING", 9.0)]
    assert now(state_of(past)) == SPACE


def test_start_up_points_are_from_the_stated_ranges() -> None:
    """All arms share them, whatever one of them has seen."""
    past: list[Past] = [(0.1, 0.15, "DIVERGED", 0.0), (0.3, 0.15, "DIVERGED", 0.0)]
    assert now(state_of(past, startup_trials=3)) == SPACE
    assert now(state_of(past, startup_trials=2)) != SPACE


@pytest.mark.parametrize(
    "changes", [{"widen": "never"}, {"sampler": "random"}, {"sampler": "qmc"}, {"sampler": "grid"}]
)
def test_others_keep_to_the_stated_ranges(changes: dict[str, Any]) -> None:
    past: list[Past] = [*ended(0.1, 0.05, 0.95, best=2), (0.99, 0.15, "DIVERGED", 0.0)]
    assert now(state_of(past)) != SPACE
    assert now(state_of(past, **changes)) == SPACE


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_a_campaign_finds_what_lies_beyond_the_stated_end(sampler: str) -> None:
    """The best learning rate is three times the highest stated one."""

    def best_beyond(spec: Any, epoch: int) -> float:
        return 60.0 + 20 * min(spec.config["lr"], 3.0)

    widest = {}
    for widen in ("auto", "never"):
        plan = make_plan(
            studies=(study_plan(arms=(control_arm(14, space={"lr": LR}),)),),
            sampler=sampler, widen=widen, max_epochs=1, confirm_seeds=(),
        )  # fmt: skip
        trials = run(plan, best_beyond).state.arms[STUDY, "control"].trials["search"]
        widest[widen] = max(trial.spec.config["lr"] for trial in trials)
    assert widest["never"] <= 1.0
    assert 1.5 < widest["auto"] <= 3.0


def test_a_choice_beyond_the_stated_end_is_at_no_end_where_more_was_searched() -> None:
    """The best learning rate, 1.6, lies above the stated 1.0; higher ones were tried, too."""

    def peaked(spec: Any, epoch: int) -> float:
        return 60.0 - 20 * abs(math.log(spec.config["lr"] / 1.6))

    arm = control_arm(30, space={"lr": LR})
    plan = make_plan(studies=(study_plan(arms=(arm,)),), widen="auto", max_epochs=1)
    control = run(plan, peaked).state.arms[STUDY, "control"]
    assert control.choice is not None
    assert control.choice.config["lr"] > 1.3
    assert max(trial.spec.config["lr"] for trial in control.trials["search"]) > 2.2
    assert control.choice.edges == {}


End = Literal["low", "high"]


@pytest.mark.parametrize(
    ("rates", "chosen", "edges"),
    [
        ((0.1, 0.99), 0.99, {"lr": "high"}),  # wider ranges were open, but nothing searched there
        ((0.1, 0.99, 2.5), 0.99, {}),
        ((0.1, 0.99, 2.5), 2.5, {"lr": "high"}),
        ((0.1, 0.0101), 0.0101, {"lr": "low"}),
        ((0.1, 0.0101, 0.004), 0.0101, {}),
    ],
)
def test_an_end_is_where_the_search_really_ended(
    rates: tuple[float, ...], chosen: float, edges: dict[str, End]
) -> None:
    state = state_of(ended(*rates, best=rates.index(chosen)))
    (study,) = state.plan.studies
    config = {"lr": chosen, "lambda_over_n": 0.15}
    assert edges_of_ranges(searched_space(state, study, study.arms[0]), config) == edges


def test_below_a_rate_that_diverged_lies_no_open_end() -> None:
    past: list[Past] = [(0.1, 0.15, "COMPLETE", 60.0), (0.12, 0.15, "DIVERGED", 0.0)]
    state = state_of(past)
    assert now(state)["lr"].high == pytest.approx((0.1 * 0.12) ** 0.5)
    (study,) = state.plan.studies
    config = {"lr": 0.1, "lambda_over_n": 0.15}
    assert edges_of_ranges(searched_space(state, study, study.arms[0]), config) == {}
