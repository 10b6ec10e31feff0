"""Whole campaigns over synthetic learning curves: what is asked, stopped, chosen, confirmed."""

from __future__ import annotations

import math
from collections import Counter
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsearch.search.campaign import Campaign
from pcsearch.search.journal.journal_file import MemoryJournal
from pcsearch.search.state import CampaignState, replay
from tests.search.driving import (
    Clock,
    control_arm,
    drive,
    make_plan,
    pc_arm,
    run,
    smooth_curve,
    study_plan,
)  # fmt: skip

STUDY = "digits/compact_cnn"


def snapshot(state: CampaignState) -> object:
    """Everything a campaign knows, comparable."""
    return (
        state.status,
        state.search_closed,
        {name: vars(trial) for name, trial in state.trials.items()},
        {
            place: (arm.choice, arm.given_up, [arm.ladder.values(r) for r in arm.ladder.rungs])
            for place, arm in state.arms.items()
        },
        set(state.running),
    )


def events(campaign: Campaign) -> list[dict]:
    journal = campaign._journal
    assert isinstance(journal, MemoryJournal)
    return journal.events


def test_a_campaign_asks_every_trial_and_confirms_with_equal_seeds() -> None:
    campaign = run(make_plan(), max_concurrent=2)
    counts = Counter((t.spec.arm, t.spec.phase) for t in campaign.state.trials.values())
    assert counts == {
        ("control", "search"): 12, ("pc", "search"): 12,
        ("control", "confirm"): 3, ("pc", "confirm"): 3,
    }  # fmt: skip
    for arm in ("control", "pc"):
        confirm = campaign.state.arms["digits/compact_cnn", arm].trials["confirm"]
        assert tuple(t.spec.config["seed"] for t in confirm) == campaign.plan.confirm_seeds
        assert all(t.state == "COMPLETE" and t.last_epoch == 9 for t in confirm)
        assert all(t.spec.config["split"] is None and t.test is not None for t in confirm)
    search_seeds = {
        t.spec.config["seed"] for t in campaign.state.trials.values() if t.spec.phase == "search"
    }
    assert not search_seeds & set(campaign.plan.confirm_seeds)


@pytest.mark.parametrize("rule", ["plain", "noise"])
def test_states_follow_from_the_rule(rule: str) -> None:
    """Replaying the reports in the journal's order through a naive rule gives the same stops."""
    campaign = run(make_plan(rung_rule=rule), max_concurrent=3, order_seed=7)
    spared = 0
    rung: dict[tuple[str, int], list[float]] = {}
    for event in events(campaign):
        if event["event"] != "epoch" or "/search-" not in event["trial"]:
            continue
        arm, epoch, value = event["trial"].split("/")[2], event["epoch"], event["value"]
        expected = "complete" if epoch == 9 else "continue"
        if epoch in (1, 3):
            seen = rung.setdefault((arm, epoch), [])
            seen.append(value)
            if sum(v > value for v in seen) >= max(1, len(seen) // 3):
                expected = "prune"
                if rule == "noise" and unclear(seen, value):
                    expected, spared = "continue", spared + 1
        assert event["decision"] == expected
    assert (spared > 0) == (rule == "noise")


def unclear(seen: list[float], value: float) -> bool:
    """On 20 validation images of 10 classes, with η = 3; `seen` holds `value` already."""
    if sum(v > value for v in seen) >= 2 * len(seen) / 3:
        return False
    cut = sorted(seen, reverse=True)[max(1, len(seen) // 3) - 1]
    return cut - value < math.sqrt(cut * (100 - cut) / 20) or cut <= 10 + 2 * math.sqrt(900 / 20)


def test_the_choice_is_the_best_last_epoch_of_a_fully_trained_trial() -> None:
    campaign = run(make_plan())
    for arm in campaign.state.arms.values():
        complete = [t for t in arm.trials["search"] if t.state == "COMPLETE"]
        best = max(complete, key=lambda t: t.epochs[-1].value)
        assert arm.choice is not None
        assert arm.choice.source == best.spec.trial
        assert arm.choice.score == best.epochs[-1].value


def test_a_good_early_epoch_does_not_win() -> None:
    """One trial shines in the middle and falls at the end; the choice looks at the end only."""

    def curve(spec, epoch):
        if spec.index == 0:
            return 95.0 if epoch < 9 else 10.0
        return 50.0 + epoch + spec.index / 100

    campaign = run(make_plan(reduction_factor=2, max_epochs=9, grace_epochs=9), curve)
    choice = campaign.state.arms["digits/compact_cnn", "pc"].choice
    assert choice is not None
    assert choice.source.endswith("search-011")


def test_ties_go_to_the_smaller_lambda() -> None:
    campaign = run(make_plan(grace_epochs=9), lambda spec, epoch: 50.0)
    pc = campaign.state.arms["digits/compact_cnn", "pc"]
    assert pc.choice is not None
    assert pc.choice.config["lambda"] == min(t.spec.config["lambda"] for t in pc.trials["search"])


def test_arms_share_starting_points_and_training_seeds() -> None:
    campaign = run(make_plan(sampler="tpe", startup_trials=3))
    control, pc = (
        campaign.state.arms["digits/compact_cnn", arm].trials["search"] for arm in ("control", "pc")
    )
    pairs = list(zip(control, pc, strict=True))
    assert all(a.spec.config["lr"] == b.spec.config["lr"] for a, b in pairs[:3])
    assert any(a.spec.config["lr"] != b.spec.config["lr"] for a, b in pairs[3:])
    assert all(a.spec.config["seed"] == b.spec.config["seed"] for a, b in pairs)
    assert all(a.spec.config["lambda"] == 0 for a in control)
    assert all(b.spec.config["lambda"] == b.spec.config["lambda_over_n"] * 10 for b in pc)
    assert all(0.05 <= b.spec.config["lambda_over_n"] <= 0.15 for b in pc)


def test_finalists_are_retrained_on_further_splits_and_their_mean_alone_decides() -> None:
    """Both arms retrain the best two of each; the value that the search saw counts no more."""
    campaign = run(make_plan(finalist_configs=2, finalist_repeats=2))
    arms = campaign.state.arms
    best = {
        name: sorted(
            (t for t in arms[STUDY, name].trials["search"] if t.state == "COMPLETE"),
            key=lambda t: -t.epochs[-1].value,
        )[:2]
        for name in ("control", "pc")
    }
    sources = {trial.spec.trial for trials in best.values() for trial in trials}
    for arm in arms.values():
        repeats = arm.trials["finalists"]
        assert {t.spec.source for t in repeats} == sources, "no two have equal learning rates here"
        assert len(repeats) == 2 * len(sources)
        assert {t.spec.config["split"] for t in repeats} == {1, 2}
        means = {
            source: fmean(t.epochs[-1].value for t in repeats if t.spec.source == source)
            for source in sources
        }
        assert arm.choice is not None
        assert arm.choice.source == max(means, key=means.__getitem__)
        assert arm.choice.score == pytest.approx(max(means.values()))


def test_control_single_repeats_pcs_choice_without_lambda() -> None:
    arms = (control_arm(trials=0, space={}, borrows="pc"), pc_arm())
    campaign = run(make_plan(studies=(study_plan(arms=arms),)))
    control, pc = (campaign.state.arms["digits/compact_cnn", a] for a in ("control", "pc"))
    assert control.choice is not None
    assert pc.choice is not None
    assert control.choice.config == {**pc.choice.config, "lambda": 0.0, "lambda_over_n": 0.0}
    assert control.trials["search"] == []
    assert len(control.trials["confirm"]) == 3


def test_control_single_needs_no_confirm_and_shares_its_lenders_failure() -> None:
    arms = (control_arm(trials=0, space={}, borrows="pc"), pc_arm(trials=2))
    plan = make_plan(studies=(study_plan(arms=arms),), confirm_seeds=())
    assert run(plan).done
    fails = {f"digits/compact_cnn/pc/search-{n:03d}": 1 for n in range(2)}
    failed = run(plan, fails=fails)
    assert failed.done
    assert failed.state.arms["digits/compact_cnn", "control"].given_up is not None
    assert failed.state.failed_studies() == ("digits/compact_cnn",)


def test_a_journal_cut_before_the_choice_goes_on_to_it() -> None:
    plan = make_plan(studies=(study_plan(arms=(pc_arm(trials=1),)),), confirm_seeds=())
    whole = events(run(plan))
    chosen = next(n for n, event in enumerate(whole) if event["event"] == "chosen")
    resumed = Campaign(plan, MemoryJournal(), Clock(), state=replay(whole[:chosen]))
    assert not resumed.done, "nothing is written before the campaign is told to go on"
    resumed.advance()
    assert resumed.done
    assert resumed.state.arms["digits/compact_cnn", "pc"].choice is not None


def test_a_failed_trial_does_not_stop_the_campaign() -> None:
    fails = {f"digits/compact_cnn/pc/search-{n:03d}": 1 for n in range(11)}
    campaign = run(make_plan(), fails=fails)
    pc = campaign.state.arms["digits/compact_cnn", "pc"]
    assert [t.state for t in pc.trials["search"]] == ["FAILED"] * 11 + ["COMPLETE"]
    assert pc.choice is not None
    assert campaign.done


def test_an_arm_without_a_trained_trial_is_given_up_with_the_reason() -> None:
    fails = {f"digits/compact_cnn/pc/search-{n:03d}": 1 for n in range(12)}
    campaign = run(make_plan(), fails=fails)
    pc = campaign.state.arms["digits/compact_cnn", "pc"]
    assert pc.choice is None
    assert "loss became nan" in (pc.given_up or "")
    assert len(campaign.state.arms["digits/compact_cnn", "control"].trials["confirm"]) == 3
    assert campaign.done


def test_the_edge_of_the_range_is_noticed() -> None:
    def likes_large_lambda(spec, epoch):
        return 10 * epoch + 100 * spec.config["lambda_over_n"]

    arms = (control_arm(), pc_arm(trials=40))
    plan = make_plan(studies=(study_plan(arms=arms),))
    choice = run(plan, likes_large_lambda).state.arms["digits/compact_cnn", "pc"].choice
    assert choice is not None
    assert choice.edge == "high"


def test_a_time_budget_closes_the_search_and_keeps_the_rest() -> None:
    """At a second an epoch on 100 images the whole campaign takes far more than 100 s."""
    plan = make_plan(budget_seconds=100.0)
    campaign = run(plan, seconds_per_epoch=1.0)
    assert campaign.state.search_closed is not None
    for arm in campaign.state.arms.values():
        assert 1 <= len(arm.trials["search"]) < 12
        assert len(arm.trials["confirm"]) == 3
    assert campaign.state.seconds <= 100
    generous = run(make_plan(budget_seconds=1e6))
    assert generous.state.search_closed is None


@pytest.mark.parametrize(
    ("max_concurrent", "budget"), [(1, 250), (2, 140), (8, 55), (16, 45), (32, 40)]
)
def test_the_budget_holds_at_any_width(max_concurrent: int, budget: float) -> None:
    plan = make_plan(finalist_configs=3, finalist_repeats=2, budget_seconds=budget)
    campaign = run(plan, max_concurrent=max_concurrent, in_parallel=True)
    assert campaign.done
    assert campaign.state.seconds <= budget


def test_several_finalists_scores_tie_although_their_last_bits_differ() -> None:
    """(100/3 + 200/3 + 0.1) / 3 and its permutations are one score; then the smaller λ wins."""
    thirds = {0: 100 / 3, 1: 200 / 3, 2: 0.1}
    assert len({(thirds[a] + thirds[b] + thirds[3 - a - b]) for a, b in PERMUTED}) > 1

    def curve(spec, epoch):
        if epoch < 9:
            return 50.0
        rank = spec.index if spec.phase == "search" else int(spec.source[-1])
        return thirds[(rank + (spec.config["split"] or 0)) % 3]

    arms = (pc_arm(trials=3),)
    plan = make_plan(
        studies=(study_plan(arms=arms),), grace_epochs=9, finalist_configs=3, finalist_repeats=3
    )
    arm = run(plan, curve).state.arms[STUDY, "pc"]
    assert arm.choice is not None
    assert arm.choice.config["lambda"] == min(t.spec.config["lambda"] for t in arm.trials["search"])


PERMUTED = [(0, 1), (1, 2), (2, 0)]


@given(
    max_concurrent=st.integers(1, 5),
    order_seed=st.integers(0, 99),
    finalists=st.sampled_from([(0, 0), (2, 1)]),
    sampler=st.sampled_from(["tpe", "random"]),
)
@settings(max_examples=12, deadline=None)
def test_replaying_the_journal_gives_the_same_campaign(
    max_concurrent: int, order_seed: int, finalists: tuple[int, int], sampler: str
) -> None:
    studies = (study_plan("digits"), study_plan("fieldguide"))
    plan = make_plan(
        studies=studies, sampler=sampler,
        finalist_configs=finalists[0], finalist_repeats=finalists[1],
    )  # fmt: skip
    campaign = run(plan, max_concurrent=max_concurrent, order_seed=order_seed)
    campaign.end("complete")
    assert snapshot(replay(events(campaign))) == snapshot(campaign.state)


@given(st.integers(1, 150))
@settings(max_examples=15, deadline=None)
def test_a_campaign_cut_anywhere_goes_on_to_the_same_end(reports: int) -> None:
    whole = run(make_plan())
    cut = Campaign(make_plan(), MemoryJournal(), Clock())
    drive(cut, most_epochs=reports)
    resumed = Campaign(cut.plan, cut._journal, Clock(), state=replay(events(cut)))
    resumed.advance()
    restarted = {name: trial.last_epoch for name, trial in resumed.state.running.items()}
    for name, epoch in restarted.items():
        spec = resumed.state.trials[name].spec
        for number in range(epoch + 1, spec.epochs + 1):
            value = smooth_curve(spec, number)
            confirm = spec.phase == "confirm"
            last = confirm and number == spec.epochs
            test = {"top1": value, "mean_class_top1": value - 1} if last else None
            if not resumed.report(name, number, None if confirm else value, 1.0, {"lr": 0.1}, test):
                break
    drive(resumed)
    assert snapshot(resumed.state) == snapshot(whole.state)


def test_a_value_that_is_not_finite_is_a_divergence() -> None:
    campaign = Campaign(make_plan(), MemoryJournal(), Clock())
    spec = campaign.next_trial()
    assert spec is not None
    assert campaign.report(spec.trial, 1, float("nan"), 1.0, {}) is False
    trial = campaign.state.trials[spec.trial]
    expected = ("DIVERGED", "the validation metric is nan after epoch 1")
    assert (trial.state, trial.error) == expected
    assert [event["event"] for event in events(campaign)][-1] == "diverged"
    assert campaign.state.arms[STUDY, "control"].best(1) == []
    assert snapshot(replay(events(campaign))) == snapshot(campaign.state)


def test_an_epoch_reported_again_is_counted_and_changes_nothing() -> None:
    campaign = Campaign(make_plan(), MemoryJournal(), Clock())
    spec = campaign.next_trial()
    assert spec is not None
    assert campaign.report(spec.trial, 1, 50.0, 1.0, {})
    written = len(events(campaign))
    assert campaign.report(spec.trial, 1, 10.0, 1.0, {})
    (repeated,) = events(campaign)[written:]
    assert (repeated["event"], repeated["epoch"], repeated["same"]) == ("repeated", 1, False)
    assert campaign.state.trials[spec.trial].last_value == 50.0
