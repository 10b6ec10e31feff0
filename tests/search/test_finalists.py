"""What each arm retrains, by hand: candidates, their exchange, their memory, their scores."""

from __future__ import annotations

import math

import pytest

from pcsearch.recipe.search_space import Space
from pcsearch.search.campaign import Campaign
from pcsearch.search.journal.journal_file import MemoryJournal
from pcsearch.search.plan import ArmPlan, Plan, confirm_seeds
from pcsearch.search.selection import candidates
from pcsearch.search.state import CampaignState, replay
from pcsearch.search.trial import TrialSpec
from pcsearch.search.trial_config import middle
from tests.search.driving import (
    Clock,
    Curve,
    control_arm,
    make_plan,
    pc_arm,
    run,
    smooth_curve,
    study_plan,
)

STUDY = "digits/compact_cnn"
Values = dict[tuple[str, int], float]
"""Last value of each search trial, by arm and number; the lower it is, the earlier it stops."""


def small(arms: tuple[ArmPlan, ...], **changes: object) -> Plan:
    """No rungs, so that every search trial is trained to the end; no two learning rates equal."""
    values: dict[str, object] = {
        "studies": (study_plan(arms=arms),), "max_epochs": 1, "confirm_epochs": 1,
        "finalist_configs": 2, "finalist_repeats": 2, "startup_trials": 1, "confirm_seeds": (),
    }  # fmt: skip
    return make_plan(**values | changes)


def state_after(plan: Plan, found: Values, until: str = "finalists") -> CampaignState:
    """The state when the first trial of a phase is asked, after search trials of such values."""
    campaign = Campaign(plan, MemoryJournal(), Clock())
    while (spec := campaign.next_trial()) is not None and spec.phase != until:
        campaign.report(spec.trial, 1, found[spec.arm, spec.index], 1.0, {})
    return campaign.state


def told(state: CampaignState, arm: str) -> list[tuple[str, float]]:
    """The candidates of an arm: whose they are, and their learning rate."""
    (study,) = state.plan.studies
    found = candidates(state, study, study.arm(arm))
    return [(one.source.spec.trial.removeprefix(f"{STUDY}/"), one.config["lr"]) for one in found]


def rate(state: CampaignState, arm: str, index: int) -> float:
    value = state.trials[f"{STUDY}/{arm}/search-{index:03d}"].spec.config["lr"]
    assert isinstance(value, float)
    return value


FOUND = {
    ("control", 0): 10.0, ("control", 1): 70.0, ("control", 2): 60.0, ("control", 3): 20.0,
    ("pc", 0): 15.0, ("pc", 1): 30.0, ("pc", 2): 40.0, ("pc", 3): 80.0,
}  # fmt: skip
"""The best two are 1 and 2 of the control, 3 and 2 of PC."""


def test_an_arm_retrains_its_own_best_first_then_those_of_the_others() -> None:
    state = state_after(small((control_arm(4), pc_arm(4))), FOUND)
    best = {"control": (1, 2), "pc": (3, 2)}
    for arm, other in (("control", "pc"), ("pc", "control")):
        assert told(state, arm) == [
            (f"{name}/search-{n:03d}", rate(state, name, n))
            for name in (arm, other)
            for n in best[name]
        ]


def test_an_adopted_configuration_has_the_arms_own_parameter() -> None:
    """PC takes λ/N from its best search trial, and the control drops it."""
    state = state_after(small((control_arm(4), pc_arm(4))), FOUND)
    (study,) = state.plan.studies
    own = state.trials[f"{STUDY}/pc/search-003"].spec.config["lambda_over_n"]
    of_pc = candidates(state, study, study.arm("pc"))
    assert [one.config["lambda_over_n"] for one in of_pc[2:]] == [own, own]
    assert of_pc[2].config["lambda"] == pytest.approx(10 * own)
    assert of_pc[0].config["lambda_over_n"] == own
    assert of_pc[1].config["lambda_over_n"] != own, "its own second best keeps its own λ"
    of_control = candidates(state, study, study.arm("control"))
    assert {one.config["lambda"] for one in of_control} == {0.0}


def test_an_arm_that_trained_nothing_adopts_with_the_middle_of_its_range() -> None:
    campaign = Campaign(small((control_arm(4), pc_arm(4))), MemoryJournal(), Clock())
    while (spec := campaign.next_trial()) is not None and spec.phase == "search":
        if spec.arm == "pc":
            campaign.diverge(spec.trial, "the loss is nan")
        else:
            campaign.report(spec.trial, 1, FOUND["control", spec.index], 1.0, {})
    state = campaign.state
    (study,) = state.plan.studies
    found = candidates(state, study, study.arm("pc"))
    assert [one.source.spec.index for one in found] == [1, 2]
    assert [one.config["lambda_over_n"] for one in found] == [pytest.approx(0.1)] * 2


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (Space.between(0.05, 0.15), 0.1),
        (Space.between(0.01, 1.0, log=True), 0.1),
        (Space.fixed(0.3), 0.3),
        (Space.of((0.3, 0.1, 0.2)), 0.2),
        (Space.of((0.1, 0.2)), 0.2),
    ],
)
def test_the_middle_of_a_space(space: Space, expected: float) -> None:
    assert middle(space) == pytest.approx(expected)


def test_label_smoothing_does_not_go_along_to_another_arm() -> None:
    space = {"lr": control_arm().space["lr"], "label_smoothing": Space.between(0.02, 0.3)}
    smoothing = control_arm(4, name="label_smoothing", parameter="label_smoothing", space=space)
    found = {(arm, n): v for (arm, n), v in FOUND.items() if arm == "control"}
    found |= {("label_smoothing", n): FOUND["pc", n] for n in range(4)}
    state = state_after(small((control_arm(4), smoothing)), found)
    (study,) = state.plan.studies
    adopted = candidates(state, study, study.arm("control"))[2:]
    assert len(adopted) == 2
    assert not any("label_smoothing" in one.config for one in adopted)
    own = state.trials[f"{STUDY}/label_smoothing/search-003"].spec.config["label_smoothing"]
    back = candidates(state, study, study.arm("label_smoothing"))[2:]
    assert [one.config["label_smoothing"] for one in back] == [own, own]


def test_of_two_that_share_all_but_the_arms_own_parameter_one_is_retrained() -> None:
    """The first trials of both arms have one learning rate: a start-up point."""
    found = FOUND | {("control", 0): 90.0, ("pc", 0): 95.0}
    state = state_after(small((control_arm(4), pc_arm(4))), found)
    assert rate(state, "control", 0) == rate(state, "pc", 0)
    sources = {arm: [source for source, _ in told(state, arm)] for arm in ("control", "pc")}
    assert sources == {
        "control": ["control/search-000", "control/search-001", "pc/search-003"],
        "pc": ["pc/search-000", "pc/search-003", "control/search-001"],
    }


def test_two_of_an_arms_own_that_differ_in_its_parameter_alone_are_two() -> None:
    arm = pc_arm(4, space={"lr": Space.fixed(0.1), "lambda_over_n": Space.between(0.05, 0.15)})
    state = state_after(small((control_arm(4), arm)), FOUND)
    assert [source for source, _ in told(state, "pc")][:2] == ["pc/search-003", "pc/search-002"]


def test_a_grid_point_that_came_round_again_is_retrained_once() -> None:
    """The control has two points and four trials: its best two are the same one."""
    two = {"lr": Space.of((0.01, 0.1))}
    four = {**two, "lambda_over_n": Space.of((0.05, 0.1))}
    plan = small((control_arm(4, space=two), pc_arm(4, space=four)), sampler="grid")
    found = FOUND | {("control", 1): 70.0, ("control", 3): 65.0}
    state = state_after(plan, found)
    assert rate(state, "control", 1) == rate(state, "control", 3) == 0.1
    assert [source for source, _ in told(state, "control")] == ["control/search-001"]


def test_no_arm_retrains_before_all_have_searched() -> None:
    """The control's search ends first; its finalists wait until the rest of PC's is known."""
    plan = small((control_arm(1), pc_arm(3)))
    campaign = Campaign(plan, MemoryJournal(), Clock(), max_concurrent=9)
    specs = [spec for _ in range(9) if (spec := campaign.next_trial()) is not None]
    assert [spec.phase for spec in specs] == ["search"] * 4
    *first, last = specs
    for spec in first:
        campaign.report(spec.trial, 1, 50.0 + spec.index, 1.0, {})
        assert campaign.next_trial() is None
    campaign.report(last.trial, 1, 50.0, 1.0, {})
    following = campaign.next_trial()
    assert following is not None
    assert (following.phase, following.arm) == ("finalists", "control")


def test_repeats_are_on_the_same_splits_and_seeds_in_every_arm() -> None:
    campaign = run(small((control_arm(4), pc_arm(4))), curve_of(FOUND))
    seeds = {
        arm: {
            (trial.spec.config["split"], trial.spec.config["seed"])
            for trial in campaign.state.arms[STUDY, arm].trials["finalists"]
        }
        for arm in ("control", "pc")
    }
    assert seeds["control"] == seeds["pc"]
    assert sorted(split for split, _ in seeds["pc"]) == [1, 2]
    assert len({seed for _, seed in seeds["pc"]}) == 2


def curve_of(found: Values, repeats: dict[str, float] | None = None) -> Curve:
    """Search trials as found; a finalist by its source, or by its learning rate where unnamed."""

    def curve(spec: TrialSpec, epoch: int) -> float:
        if spec.phase == "search":
            return found[spec.arm, spec.index]
        source = (spec.source or "").removeprefix(f"{STUDY}/")
        known = (repeats or {}).get(source)
        return 50.0 - math.log(spec.config["lr"]) if known is None else known

    return curve


def test_the_search_value_counts_no_more() -> None:
    """The best of the search falls back to 61 on fresh splits, where another one has 62."""
    repeats = {
        "control/search-001": 61.0, "control/search-002": 62.0,
        "pc/search-003": 61.0, "pc/search-002": 60.0,
    }  # fmt: skip
    state = run(small((control_arm(4), pc_arm(4))), curve_of(FOUND, repeats)).state
    for arm in ("control", "pc"):
        choice = state.arms[STUDY, arm].choice
        assert choice is not None
        assert choice.source == f"{STUDY}/control/search-002"
        assert (choice.score, choice.values) == (62.0, (62.0, 62.0))
        assert choice.config["lr"] == rate(state, "control", 2)
    assert state.arms[STUDY, "pc"].choice.config["lambda"] > 0  # type: ignore[union-attr]


def test_a_configuration_that_lost_a_repeat_ranks_behind_whole_ones() -> None:
    """A mean over fewer, perhaps easier, splits does not compare."""
    repeats = {"control/search-001": 90.0, "control/search-002": 62.0}
    repeats |= {"pc/search-003": 60.0, "pc/search-002": 60.0}
    plan = small((control_arm(4), pc_arm(4)))
    state = run(plan, curve_of(FOUND, repeats), fails={f"{STUDY}/control/finalists-000": 1}).state
    choice = state.arms[STUDY, "control"].choice
    assert choice is not None
    assert choice.source == f"{STUDY}/control/search-002"
    assert state.arms[STUDY, "pc"].choice.source == f"{STUDY}/control/search-001"  # type: ignore[union-attr]


def test_a_repeat_in_halved_batches_is_not_averaged() -> None:
    """Its batch statistics lie within half batches, so its 99 % compares with nothing."""
    plan = small((control_arm(4), pc_arm(4)))
    campaign = Campaign(plan, MemoryJournal(), Clock())
    repeats = {"control/search-001": 61.0, "control/search-002": 62.0}
    repeats |= {"pc/search-003": 60.0, "pc/search-002": 60.0}
    curve, halved = curve_of(FOUND, repeats), f"{STUDY}/control/finalists-000"
    while not campaign.done:
        spec = campaign.next_trial()
        assert spec is not None
        if spec.trial == halved:
            assert spec.source == f"{STUDY}/control/search-001"
            campaign.lost(spec.trial, "out of memory", "memory")
            spec = campaign.next_trial()
            assert spec is not None
            assert spec.trial == halved
        value = 99.0 if spec.trial == halved else curve(spec, 1)
        campaign.report(
            spec.trial, 1, value, 1.0, {}, attempt=campaign.state.trials[spec.trial].attempt
        )
    (study,) = plan.studies
    first, *_ = candidates(campaign.state, study, study.arm("control"))
    assert (first.scores, first.mean) == ([61.0], 61.0)
    assert len(first.repeats) == 2
    choice = campaign.state.arms[STUDY, "control"].choice
    assert choice is not None
    assert choice.source == f"{STUDY}/control/search-002"


def test_where_no_repeat_was_trained_nothing_is_chosen_and_the_reason_said() -> None:
    fails = {f"{STUDY}/pc/finalists-{n:03d}": 1 for n in range(8)}
    state = run(small((control_arm(4), pc_arm(4))), curve_of(FOUND), fails=fails).state
    pc = state.arms[STUDY, "pc"]
    assert pc.choice is None
    assert pc.given_up == (
        "none of its 8 finalist trials was trained to the end: 8 failed; the first failure: loss "
        "became nan"
    )
    assert state.arms[STUDY, "control"].choice is not None


def test_finalists_that_diverge_are_told_as_that() -> None:
    campaign = Campaign(small((control_arm(4), pc_arm(4))), MemoryJournal(), Clock())
    while (spec := campaign.next_trial()) is not None:
        if spec.arm == "pc" and spec.phase == "finalists":
            campaign.diverge(spec.trial, "loss became nan")
            continue
        for epoch in range(1, spec.epochs + 1):
            value = None if spec.phase == "confirm" else smooth_curve(spec, epoch)
            test = {"top1": 60.0, "mean_class_top1": 60.0} if value is None else None
            if not campaign.report(spec.trial, epoch, value, 1.0, {}, test):
                break
    given_up = campaign.state.arms[STUDY, "pc"].given_up
    assert given_up is not None
    assert "was trained to the end: 8 diverged (lower search.lr); the first failure" in given_up


def widened(campaign: Campaign, plan: Plan, curve: Curve) -> CampaignState:
    """What `resume search.trials=... confirm.seeds=...` does to a campaign that has ended."""
    from tests.search.driving import drive

    campaign.end("complete")
    journal = campaign._journal
    assert isinstance(journal, MemoryJournal)
    again = Campaign(plan, journal, Clock(), state=replay(journal.events))
    again.resume(host="here", pid=1, version="0")
    again.extend(plan, "the wider recipe")
    drive(again, curve)
    assert vars(replay(journal.events).arms[STUDY, "pc"].choice) == vars(
        again.state.arms[STUDY, "pc"].choice
    )
    return again.state


def test_a_retrained_configuration_stays_in_the_contest_when_the_search_is_widened() -> None:
    """`resume search.trials=10 confirm.seeds=5`: it drops out of the best two, not of the contest.

    Its fresh mean of 75 is higher than those of the newcomers, whose search values are luck.
    """
    arms = (control_arm(6), pc_arm(6))
    found = {(arm, n): 50.0 + n for arm in ("control", "pc") for n in range(6)}
    repeats = {"control/search-005": 75.0, "control/search-004": 60.0}
    repeats |= {"pc/search-005": 60.0, "pc/search-004": 60.0}
    repeats |= {f"{a}/search-{n:03d}": 65.0 for a in ("control", "pc") for n in range(6, 10)}
    curve = curve_of(found | {(a, n): 80.0 + n for a in ("control", "pc") for n in range(6, 10)},
                     repeats)  # fmt: skip
    first = small(arms, confirm_seeds=confirm_seeds(0, 3))
    campaign = run(first, curve)
    before = {arm: campaign.state.arms[STUDY, arm].choice for arm in ("control", "pc")}
    assert {choice.source for choice in before.values() if choice} == {
        f"{STUDY}/control/search-005"
    }
    wide = small((control_arm(10), pc_arm(10)), confirm_seeds=confirm_seeds(0, 5))
    state = widened(campaign, wide, curve)
    (study,) = state.plan.studies
    for arm in ("control", "pc"):
        done = state.arms[STUDY, arm]
        assert {t.spec.index for t in done.best(2)} == {8, 9}
        assert done.choice == before[arm], (
            "nothing that was found later does better on fresh splits"
        )
        assert len(done.trials["confirm"]) == 5
        assert done.earlier == []
        found_now = candidates(state, study, study.arm(arm))
        assert all(len(one.repeats) == 2 for one in found_now)
        splits = [t.spec.config["split"] for t in done.trials["finalists"]]
        assert len(splits) == 2 * len(found_now), "no split of any is trained twice"


def test_what_was_retrained_stays_where_a_newcomer_has_its_hyperparameters() -> None:
    """All of the control's trials have one learning rate; PC's retrained ones are its, too."""
    fixed = {"lr": Space.fixed(0.1)}
    own = {**fixed, "lambda_over_n": Space.between(0.05, 0.15)}
    values = {(arm, n): 50.0 + n for arm in ("control", "pc") for n in range(10)}
    curve = curve_of(values)
    campaign = run(small((control_arm(6, space=fixed), pc_arm(6, space=own))), curve)
    wide = small((control_arm(10, space=fixed), pc_arm(10, space=own)))
    state = widened(campaign, wide, curve)
    (study,) = state.plan.studies
    retrained = {one.source.spec.index for one in candidates(state, study, study.arm("control"))}
    assert retrained == {9, 5}


def test_without_finalists_the_search_value_decides() -> None:
    state = run(small((control_arm(4), pc_arm(4)), finalist_configs=0), curve_of(FOUND)).state
    choice = state.arms[STUDY, "pc"].choice
    assert choice is not None
    assert (choice.source, choice.score) == (f"{STUDY}/pc/search-003", 80.0)
