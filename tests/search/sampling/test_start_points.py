"""Start points from earlier runs: which, in which arms, and that wrong ones are recovered from."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import pytest

from pcsearch.errors import UserError
from pcsearch.recipe.search_space import Space
from pcsearch.search.campaign import Campaign
from pcsearch.search.journal.journal_file import MemoryJournal
from pcsearch.search.journal.plan_check import read_plan
from pcsearch.search.plan import ArmPlan, Plan, StartPoint, StudyPlan, default_startup
from pcsearch.search.sampling.samplers import propose
from pcsearch.search.sampling.start_points import (
    EarlierRun,
    prior_sentences,
    with_known_points,
    with_start_points,
)
from pcsearch.search.state import CampaignState, replay
from pcsearch.search.trial import TrialSpec
from tests.reporting.simulated_campaigns import (
    borrowing_control,
    campaign_plan,
    entropic_arm,
    other_study,
    simulate,
    smoothing_arm,
)
from tests.search.driving import LR, Clock, control_arm, drive, make_plan, pc_arm, run, study_plan

STUDY = "digits/compact_cnn"
Values = dict[str, dict[str, int | float]]


def earlier(*studies: StudyPlan, address: str = "runs/first", **changes: Any) -> EarlierRun:
    return EarlierRun(address, simulate(campaign_plan(*studies, **{"seed": 7, **changes})))


def points(plan: Plan, *runs: EarlierRun) -> tuple[StartPoint, ...]:
    (study,) = with_start_points(plan, runs)[0].studies
    return study.start_points


def chosen(state: CampaignState, arm: str) -> dict[str, Any]:
    choice = state.arms[STUDY, arm].choice
    assert choice is not None
    return dict(choice.config)


def plan_of(*arms: ArmPlan, **changes: Any) -> Plan:
    return make_plan(studies=(study_plan(arms=arms or None),), **changes)


def test_points_are_the_choices_then_the_finalists_by_the_mean_of_their_repeats() -> None:
    before = earlier(study_plan(arms=(control_arm(8), pc_arm(8))), finalist_configs=3)
    arms = before.state.arms
    (first, second, *_) = sorted(
        (arms[STUDY, name].choice for name in ("control", "pc")),
        key=lambda choice: -(choice.score or 0),  # type: ignore[union-attr]
    )
    assert first is not None
    assert second is not None
    found = points(plan_of(), before)
    assert len(found) == 3
    assert found[0].values["control"]["lr"] == first.config["lr"]
    rates = [point.values["control"]["lr"] for point in found]
    if first.config["lr"] != second.config["lr"]:
        assert rates[1] == second.config["lr"]
    means: dict[float, float] = {}
    for name in ("control", "pc"):
        of: dict[float, list[float]] = {}
        for trial in arms[STUDY, name].trials["finalists"]:
            of.setdefault(trial.spec.config["lr"], []).append(trial.last_value or 0)
        for rate, values in of.items():
            means[rate] = max(means.get(rate, 0), fmean(values))
    rest = {rate: mean for rate, mean in means.items() if rate not in rates[:-1]}
    assert rates[-1] == max(rest, key=lambda rate: rest[rate])


def test_every_arm_starts_from_the_same_shared_values() -> None:
    before = earlier()
    plan, lines = with_start_points(plan_of(), [before])
    given = plan.studies[0].start_points
    campaign = run(plan)
    for number, point in enumerate(given):
        rates = set()
        for arm in ("control", "pc"):
            config = campaign.state.arms[STUDY, arm].trials["search"][number].spec.config
            rates.add(config["lr"])
            if arm == "pc":
                assert config["lambda_over_n"] == point.values["pc"]["lambda_over_n"]
                assert config["lambda"] == pytest.approx(10 * config["lambda_over_n"])
        assert len(rates) == 1
    assert given
    assert lines == tuple(prior_sentences(plan.studies[0]))
    assert all("runs/first" in line for line in lines)


def test_an_arms_own_parameter_is_that_of_the_same_arm_or_the_middle() -> None:
    before = earlier(study_plan(arms=(control_arm(), pc_arm())))
    arms = (control_arm(), pc_arm(), smoothing_arm(), entropic_arm())
    for point in points(plan_of(*arms), before):
        assert point.values["label_smoothing"]["label_smoothing"] == pytest.approx(0.16)
        assert point.values["entropic"]["lambda"] == pytest.approx(0.1)  # of 0.01 to 1
        own = {t.spec.config["lambda_over_n"] for t in before.state.trials.values()}
        assert point.values["pc"]["lambda_over_n"] in own - {0.0}
    of_control = earlier(study_plan(arms=(control_arm(12, space={}, fixed={"lr": 0.1}), pc_arm())))
    (point,) = points(
        plan_of(pc_arm(space={"lambda_over_n": Space.between(0.05, 0.15)})), of_control
    )
    assert set(point.values) == {"pc"}


def test_values_are_moved_into_the_new_ranges_and_others_ignored() -> None:
    before = earlier()
    space = {"lr": Space.between(1e-4, 2e-4, log=True), "weight_decay": Space.of((1e-5, 2e-4))}
    own = {"lambda_over_n": Space.fixed(0.3)}
    found = points(plan_of(control_arm(space=space), pc_arm(space={**space, **own})), before)
    assert [point.values for point in found] == [  # another one would be the same
        {
            "control": {"lr": 2e-4, "weight_decay": 2e-4},
            "pc": {"lr": 2e-4, "weight_decay": 2e-4, "lambda_over_n": 0.3},
        }
    ]


@pytest.mark.parametrize(
    ("space", "value", "nearest"),
    [
        (Space.between(0.01, 0.3, log=True), 0.5, 0.3),
        (Space.between(0.01, 0.3, log=True), 0.001, 0.01),
        (Space.between(0.01, 0.3), 0.2, 0.2),
        (Space.between(8, 64), 16, 16),
        (Space.of((0.01, 0.1)), 0.04, 0.1),  # by ratio: 4 from below, 2.5 from above
        (Space.of((0.01, 0.1)), 0.03, 0.01),
        (Space.of((0, 1)), 0.4, 0),
        (Space.of((32, 16)), 16, 16),
        (Space.fixed(0.7), 0.1, 0.7),
    ],
)
def test_the_nearest_value_of_a_space(space: Space, value: float, nearest: float) -> None:
    assert space.nearest(value) == nearest
    assert type(space.nearest(value)) is type(nearest)


def test_at_most_three_of_a_run_and_half_of_the_trials() -> None:
    sizes = {}
    runs = [earlier(address=f"runs/{n}", seed=n, finalist_configs=4) for n in (1, 2)]
    for trials in (2, 3, 4, 6, 9, 12, 30):
        found = points(plan_of(control_arm(trials), pc_arm(trials)), *runs)
        sizes[trials] = len(found)
        assert [point.run for point in found[:2]] == ["runs/1", "runs/2"][: len(found)]
    assert sizes == {2: 1, 3: 1, 4: 2, 6: 3, 9: 4, 12: 6, 30: 6}


def test_a_run_that_was_cut_off_gives_its_best_fully_trained_search_trials() -> None:
    campaign = Campaign(campaign_plan(seed=7), MemoryJournal(), Clock())
    drive(campaign, most_epochs=60)
    arms = campaign.state.arms
    assert not any(arm.choice for arm in arms.values())
    best = max(
        (trial for name in ("control", "pc") for trial in arms[STUDY, name].best(3)),
        key=lambda trial: trial.last_value or 0,
    )
    plan, lines = with_start_points(plan_of(), [EarlierRun("runs/cut", campaign.state)])
    assert plan.studies[0].start_points[0].trial == best.spec.trial
    assert "runs/cut has chosen nothing yet" in lines[-1]


def test_test_accuracies_change_no_start_point() -> None:
    campaign = run(campaign_plan(seed=7))
    assert isinstance(campaign._journal, MemoryJournal)
    changed = copy.deepcopy(campaign._journal.events)
    rng, touched = random.Random(0), 0
    for event in changed:
        if event.get("test"):
            event["test"] = {key: 100 * rng.random() for key in event["test"]}
            touched += 1
    assert touched
    same = EarlierRun("a", campaign.state), EarlierRun("a", replay(changed))
    assert points(plan_of(), same[0]) == points(plan_of(), same[1])


OTHER = study_plan("fieldguide")
NORM = (control_arm(variant="norm"), pc_arm(variant="norm"))


@pytest.mark.parametrize(
    ("before", "changes", "told"),
    [
        (OTHER, {}, ["its dataset is fieldguide, not digits"]),
        (other_study("digits", "vgg16", 10), {}, ["its backbone is vgg16, not compact_cnn"]),
        (other_study("digits", "compact_cnn", 12), {}, ["number of classes is 12, not 10"]),
        (study_plan(arms=NORM), {}, ["its loss is norm, not euclidean"]),
        (study_plan(), {"metric": "mean_class_top1"}, ["metric is mean_class_top1, not top1"]),
        (
            other_study("fieldguide", "vgg16", 10),
            {"metric": "mean_class_top1"},
            ["its dataset is", "its backbone is", "its metric is"],
        ),
        (study_plan(arms=(entropic_arm(),)), {}, ["searched entropic only"]),
        (study_plan(arms=(borrowing_control(), entropic_arm())), {}, ["entropic"]),
    ],
)
def test_a_run_of_something_else_is_refused_with_all_that_differs(
    before: StudyPlan, changes: dict[str, Any], told: Sequence[str]
) -> None:
    if before.arms[0].borrows:
        arms = tuple(
            a.model_copy(update={"borrows": "entropic"}) if a.borrows else a for a in before.arms
        )
        before = before.model_copy(update={"arms": arms})
    with pytest.raises(UserError) as caught:
        points(plan_of(), earlier(before, **changes))
    message = str(caught.value)
    assert message.startswith("search.prior: runs/first has no study that fits:\n")
    for words in told:
        assert words in message


def test_a_run_that_trained_nothing_to_the_end_is_refused() -> None:
    campaign = Campaign(campaign_plan(), MemoryJournal(), Clock())
    drive(campaign, most_epochs=2)
    with pytest.raises(UserError, match="none of its search trials was trained to the end"):
        points(plan_of(), EarlierRun("runs/early", campaign.state))


def test_some_studies_may_fit_and_the_others_are_told() -> None:
    plan = make_plan(studies=(study_plan(), OTHER))
    found, lines = with_start_points(plan, [earlier()])
    assert [len(study.start_points) > 0 for study in found.studies] == [True, False]
    assert (
        "fieldguide/compact_cnn: no start points from runs/first: its dataset is digits, "
        "not fieldguide"
    ) in lines


def test_images_that_were_divided_another_way_give_none_where_test_images_were_held_out() -> None:
    """What chose the earlier configurations may be among the test images now."""
    (study,) = plan_of().studies
    plan = make_plan(studies=(study.model_copy(update={"split_hash": "f" * 16}),))
    with pytest.raises(UserError, match="may be test images now"):
        with_start_points(plan, [earlier()], {"digits"})
    assert points(plan, earlier())  # given test parts stay apart
    assert with_start_points(plan_of(), [earlier()], {"digits"})[0].studies[0].start_points


def test_equal_seeds_are_told() -> None:
    _, lines = with_start_points(plan_of(), [earlier(seed=0)])
    assert "search.seed is 0 as in runs/first" in lines[-1]
    _, lines = with_start_points(plan_of(), [earlier(seed=1)])
    assert not any("search.seed" in line for line in lines)


def test_the_journal_alone_gives_the_points_again() -> None:
    plan, _ = with_start_points(plan_of(), [earlier()])
    campaign = Campaign(plan, MemoryJournal(), Clock())
    drive(campaign, most_epochs=5)
    assert isinstance(campaign._journal, MemoryJournal)
    again = replay(campaign._journal.events)
    assert again.plan == plan
    assert read_plan(plan.model_dump(mode="json")) == plan
    resumed = Campaign(again.plan, MemoryJournal(), Clock(), state=again)
    drive(resumed)
    whole = run(plan)
    configs = [[t.spec.config for t in one.state.trials.values()] for one in (resumed, whole)]
    assert configs[0] == configs[1]


def test_a_plan_that_says_nothing_of_start_points_has_none() -> None:
    raw = plan_of().model_dump(mode="json")
    for study in raw["studies"]:
        del study["start_points"]
    assert read_plan(raw).studies[0].start_points == ()


def test_a_widened_campaign_keeps_its_points() -> None:
    begun, _ = with_start_points(plan_of(), [earlier()])
    wider = make_plan(studies=(study_plan(arms=(control_arm(20), pc_arm(20))), OTHER))
    kept = with_known_points(wider, begun)
    assert kept.studies[0].start_points == begun.studies[0].start_points
    assert kept.studies[1].start_points == ()


GOOD: Values = {"control": {"lr": 0.1}, "pc": {"lr": 0.1, "lambda_over_n": 0.1}}


@pytest.mark.parametrize(
    ("changes", "count", "problem"),
    [
        ({}, 7, "start_points is 7, but must be between 0 and 6"),
        ({"run": ""}, 1, "start point 0 does not say where it comes from"),
        ({"trial": "a\nb"}, 1, "start point 0 does not say where it comes from"),
        ({"values": {"control": {"lr": 0.1}}}, 1, "does not have the dimensions"),
        ({"values": {**GOOD, "control": {"lr": 0.1, "x": 1}}}, 1, "does not have the dimensions"),
        ({"values": {**GOOD, "control": {"lr": 0.5}}}, 1, "is outside the ranges"),
        ({"values": {**GOOD, "control": {"lr": math.inf}}}, 1, "is outside the ranges"),
    ],
)
def test_a_damaged_start_point_is_refused(
    changes: dict[str, Any], count: int, problem: str
) -> None:
    raw = plan_of().model_dump(mode="json")
    point = {"run": "runs/a", "trial": f"{STUDY}/pc/search-001", "values": GOOD}
    raw["studies"][0]["start_points"] = [point]
    read_plan(raw)
    raw["studies"][0]["start_points"] = [{**point, **changes}] * count
    with pytest.raises(ValueError, match=problem):
        read_plan(raw)


def with_points(study: StudyPlan, *values: Values) -> StudyPlan:
    given = tuple(StartPoint(run="r", trial="t", values=each) for each in values)
    return study.model_copy(update={"start_points": given})


@pytest.mark.parametrize(("stated", "given", "learns_at"), [(4, 1, 4), (4, 3, 5), (10, 3, 10)])
def test_half_of_the_quasi_random_points_stay(stated: int, given: int, learns_at: int) -> None:
    study = with_points(study_plan(arms=(pc_arm(40),)), *[{"pc": GOOD["pc"]}] * given)
    plan = make_plan(studies=(study,), startup_trials=stated)
    assert plan.startup(study) == learns_at
    sobol = make_plan(sampler="qmc")
    asked = [propose(plan, STUDY, pc_arm(40), n, []) for n in range(learns_at)]
    assert asked[:given] == [GOOD["pc"]] * given
    assert asked[given:] == [
        propose(sobol, STUDY, pc_arm(40), n, []) for n in range(given, learns_at)
    ]


BEST_RATE, BEST_FRACTION = 0.04, 0.12


def loss(config: dict[str, Any], arm: str = "pc") -> float:
    """Points of accuracy below the best configuration."""
    rate = math.log(config["lr"] / BEST_RATE) / math.log(LR.highest / LR.lowest)
    own = (config["lambda_over_n"] - BEST_FRACTION) / 0.1 if arm == "pc" else 0.0
    return 40 * rate**2 + 15 * own**2


def learns(spec: TrialSpec, epoch: int) -> float:
    """From 10 % to at most 90 %, with noise of half a point an epoch."""
    noise = random.Random(f"{spec.config['seed']} {spec.arm} {epoch}").gauss(0, 0.5)
    return 10 + (80 - loss(spec.config, spec.arm)) * (1 - 0.5**epoch) + noise


def mean_regret(trials: int, *values: Values) -> float:
    """Of PC's final choice, in points, over 10 seeds."""
    regrets = []
    for seed in range(10):
        study = with_points(study_plan(arms=(control_arm(trials), pc_arm(trials))), *values)
        plan = make_plan(
            studies=(study,), startup_trials=default_startup(trials), seed=seed,
            confirm_seeds=(), rung_rule="noise", widen="auto", full_trainings=4,
        )  # fmt: skip
        regrets.append(loss(chosen(run(plan, learns).state, "pc")))
    return fmean(regrets)


def start(rate: float, fraction: float) -> Values:
    return {"control": {"lr": rate}, "pc": {"lr": rate, "lambda_over_n": fraction}}


TOLERANCE = 0.5
"""Points that three misleading start points may cost; their own regret is 13 and more."""


def test_a_misleading_prior_is_recovered_from_and_a_good_one_helps() -> None:
    wrong = [
        start(rate, fraction) for rate, fraction in ((0.29, 0.05), (0.26, 0.055), (0.23, 0.06))
    ]
    assert min(loss(one["pc"]) for one in wrong) > 13
    right = [start(rate, fraction) for rate, fraction in ((0.036, 0.115), (0.044, 0.125))]
    without, few = mean_regret(12), mean_regret(6)
    assert mean_regret(12, *wrong) <= without + TOLERANCE
    assert mean_regret(6, *right) < few / 3
    assert mean_regret(6, *right) < without
