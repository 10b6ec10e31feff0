"""The verdict: each word, each reason to withhold it, and the error rate that looks spend."""

from __future__ import annotations

import base64
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsearch.recipe.search_space import Space
from pcsearch.reporting.notes import notes
from pcsearch.reporting.summary import summarise
from pcsearch.search.campaign import Campaign
from pcsearch.search.journal.journal_file import Event, MemoryJournal
from pcsearch.search.journal.validate import History
from pcsearch.search.plan import ArmPlan, Plan, confirm_seeds, looks_of
from pcsearch.search.state import CampaignState, Look, replay
from pcsearch.search.trial import TrialSpec
from pcsearch.search.verdicts.verdict import (
    Verdict,
    confirmed,
    gain_of,
    learned_nothing,
    verdict_on,
)
from tests.search.driving import Clock, Curve, control_arm, make_plan, pc_arm, run, study_plan

STUDY = "digits/compact_cnn"
MIDDLE = {"lr": Space.fixed(0.1)}
"""Nothing but λ is searched, so that no learning rate lies at an end."""


def arms(trials: int = 4) -> tuple[ArmPlan, ArmPlan]:
    space = {**MIDDLE, "lambda_over_n": Space.between(0.05, 0.15)}
    return control_arm(trials, space=MIDDLE), pc_arm(trials, space=space)


def plan_of(*competing: ArmPlan, seeds: int = 3, test: int = 300, **changes: Any) -> Plan:
    study = study_plan(arms=competing or arms())
    images = study.images.model_copy(update={"test": test})
    values: dict[str, Any] = {
        "studies": (study.model_copy(update={"images": images}),), "sampler": "random",
        "max_epochs": 1, "confirm_epochs": 1, "finalist_configs": 2, "finalist_repeats": 2,
        "confirm_seeds": confirm_seeds(0, seeds),
    }  # fmt: skip
    return make_plan(**values | changes)


def with_gain(gain: float, spread: float = 1.0, best: float = 0.1) -> Curve:
    """PC is `gain` points better; each training has luck; λ/N of `best` is the best of all."""

    def curve(spec: TrialSpec, epoch: int) -> float:
        luck = random.Random(f"{spec.arm} {spec.config['seed']}").gauss(0, spread)
        miss = 100 * abs(spec.config["lambda_over_n"] - best) if spec.arm != "control" else 0.0
        return 60 + luck + (gain if spec.arm != "control" else 0.0) - miss

    return curve


def judged(state: CampaignState, arm: str = "pc") -> Verdict:
    (study,) = state.plan.studies
    return verdict_on(state, study, arm, gain_of(state, study, arm))


def looked(campaign: Campaign) -> list[Event]:
    journal = campaign._journal
    assert isinstance(journal, MemoryJournal)
    return [event for event in journal.events if event["event"] == "looked"]


@pytest.mark.parametrize(
    ("gain", "word"), [(10, "helps"), (-10, "hurts"), (0, "no clear difference")]
)
def test_the_word_follows_the_interval(gain: float, word: str) -> None:
    campaign = run(plan_of(), with_gain(gain))
    assert judged(campaign.state) == Verdict(word)  # type: ignore[arg-type]
    (event,) = looked(campaign)
    seen = event["gains"]["pc"]
    known = gain_of(campaign.state, campaign.plan.studies[0], "pc")
    assert known is not None
    assert (seen["word"], seen["mean"], seen["low"]) == (word, known.mean, known.low)
    assert (event["seeds"], event["alpha"]) == (3, pytest.approx(0.04))
    assert known.level == pytest.approx(0.96)


def reason(plan: Plan, curve: Curve, **options: Any) -> str:
    verdict = judged(run(plan, curve, **options).state)
    assert verdict.word == "withheld"
    assert verdict.reason is not None
    return verdict.reason


def test_withheld_without_a_control() -> None:
    assert reason(plan_of(arms()[1]), with_gain(10)) == "there is no control"


@pytest.mark.parametrize(("arm", "label"), [("pc", "PC"), ("control", "control")])
def test_withheld_where_an_arm_learned_nothing(arm: str, label: str) -> None:
    def curve(spec: TrialSpec, epoch: int) -> float:
        guess = 10.0 + random.Random(f"{spec.config['seed']}").random()
        return guess if spec.arm == arm else with_gain(0)(spec, epoch)

    state = run(plan_of(), curve).state
    assert learned_nothing(state, state.plan.studies[0], arm)
    assert judged(state) == Verdict("withheld", f"{label} learned nothing")


def test_withheld_where_a_confirm_training_diverged() -> None:
    def curve(spec: TrialSpec, epoch: int) -> float:
        return with_gain(10)(spec, epoch)

    for arm, label in (("pc", "PC"), ("control", "control")):
        campaign = Campaign(plan_of(), MemoryJournal(), Clock())
        while (spec := campaign.next_trial()) is not None:
            if spec.trial == f"{STUDY}/{arm}/confirm-001":
                campaign.diverge(spec.trial, "the loss is nan in epoch 1")
            else:
                train(campaign, spec, curve)
        words = f"1 of 3 confirm trainings of {label} diverged"
        assert judged(campaign.state) == Verdict("withheld", words)
        assert any("1 failed" in line for line in notes_of(campaign.state))


def test_a_confirm_training_in_halved_batches_is_not_averaged() -> None:
    campaign = Campaign(plan_of(), MemoryJournal(), Clock())
    halved = f"{STUDY}/pc/confirm-001"
    while (spec := campaign.next_trial()) is not None:
        if spec.trial == halved and campaign.state.trials[halved].comparable:
            campaign.lost(halved, "out of memory", "memory")
            continue
        train(campaign, spec, with_gain(90) if spec.trial == halved else with_gain(10))
    pc = campaign.state.arms[STUDY, "pc"].trials["confirm"]
    assert [(t.state, t.comparable) for t in pc] == [
        ("COMPLETE", True), ("COMPLETE", False), ("COMPLETE", True),
    ]  # fmt: skip
    values = confirmed(campaign.state, campaign.plan.studies[0], "pc")
    assert tuple(values) == campaign.plan.confirm_seeds[::2]
    gain = gain_of(campaign.state, campaign.plan.studies[0], "pc")
    assert gain is not None
    assert gain.mean < 20


def train(campaign: Campaign, spec: TrialSpec, curve: Curve) -> None:
    confirm, value = spec.phase == "confirm", curve(spec, 1)
    test = {"top1": value} if confirm else None
    attempt = campaign.state.trials[spec.trial].attempt
    campaign.report(spec.trial, 1, None if confirm else value, 1.0, {}, test, attempt=attempt)


def notes_of(state: CampaignState) -> list[str]:
    return notes(summarise(state), state)


def test_withheld_until_all_seeds_are_there() -> None:
    plan = plan_of()
    epochs = sum(len(trial.epochs) for trial in run(plan, with_gain(10)).state.trials.values())
    words = "not all confirm seeds are measured yet"
    assert reason(plan, with_gain(10), most_epochs=epochs - 1) == words


def test_withheld_of_a_single_pair() -> None:
    assert "one pair of trainings gives no interval" in reason(plan_of(seeds=1), with_gain(10))


def test_withheld_where_pairs_do_not_scatter() -> None:
    same: Curve = lambda spec, epoch: 60.0 + 5 * (spec.arm == "pc")  # noqa: E731
    assert "all 3 pairs of trainings differ equally" in reason(plan_of(), same)


def test_withheld_of_too_few_test_images() -> None:
    assert reason(plan_of(test=19), with_gain(10)) == "there are only 19 test images"
    assert judged(run(plan_of(test=20), with_gain(10)).state).word == "helps"


def test_withheld_of_a_control_that_was_not_tuned() -> None:
    borrowing = control_arm(trials=0, space={}, fixed={}, borrows="pc")
    assert "search.control: single" in reason(plan_of(borrowing, arms()[1]), with_gain(10))


@pytest.mark.parametrize(("configs", "repeats"), [(0, 2), (2, 1)])
def test_withheld_where_the_luck_of_the_search_is_unknown(configs: int, repeats: int) -> None:
    plan = plan_of(finalist_configs=configs, finalist_repeats=repeats)
    assert "the luck of the search was not measured" in reason(plan, with_gain(10))


def test_a_single_finalist_leaves_nothing_to_luck() -> None:
    """One configuration an arm: there was no choice, so its luck is known to be none."""
    one = {"lr": Space.fixed(0.1), "lambda_over_n": Space.fixed(0.1)}
    competing = control_arm(1, space=MIDDLE), pc_arm(1, space=one)
    state = run(plan_of(*competing, finalist_configs=1), with_gain(10)).state
    gain = gain_of(state, state.plan.studies[0], "pc")
    assert gain is not None
    assert gain.parts.search == 0.0
    assert judged(state) == Verdict("helps")


@pytest.mark.parametrize(
    ("best", "end", "gain", "word"),
    [
        (0.15, "high", -20, "withheld"),  # worse, and perhaps better beyond
        (0.05, "low", -20, "withheld"),
        (0.1, None, -20, "hurts"),
        (0.15, "high", 20, "helps"),  # better, and perhaps better still
        (0.15, "high", 0, "no clear difference"),
    ],
)
def test_the_losing_arm_must_not_end_at_an_end_of_its_range(
    best: float, end: str | None, gain: float, word: str
) -> None:
    competing = control_arm(4, space=MIDDLE), arms(trials=40)[1]
    state = run(plan_of(*competing, finalist_configs=1), with_gain(gain, 0.2, best)).state
    choice = state.arms[STUDY, "pc"].choice
    assert choice is not None
    assert choice.edges == ({"lambda_over_n": end} if end else {})
    verdict = judged(state)
    assert verdict.word == word
    if word == "withheld":
        assert verdict.reason == (
            f"PC is worse, but its best lambda_over_n is at the {end} end of its range: beyond "
            "that end, it may do better"
        )


def test_the_control_must_not_lose_at_the_end_of_its_learning_rates() -> None:
    wide = Space.between(0.01, 0.3, log=True)
    competing = (
        control_arm(30, space={"lr": wide}),
        pc_arm(4, space={**MIDDLE, "lambda_over_n": Space.between(0.05, 0.15)}),
    )

    def curve(spec: TrialSpec, epoch: int) -> float:
        return with_gain(20)(spec, epoch) + 50 * spec.config["lr"]  # the higher, the better

    state = run(plan_of(*competing, finalist_configs=1), curve).state
    verdict = judged(state)
    assert verdict.word == "withheld"
    assert "control is worse, but its best lr is at the high end" in (verdict.reason or "")


@pytest.mark.parametrize(
    ("space", "word"),
    [
        (Space.between(0.0, 0.15), "hurts"),  # nothing lies below no regularisation
        (Space.of((0.0, 0.1)), "hurts"),
        (Space.of((0.05, 0.1, 0.12)), "withheld"),  # but something lies below the lowest choice
        (Space.of((0.05, 0.1)), "hurts"),  # two values were asked for, and nothing else
        (Space.between(0.05, 0.15), "withheld"),
    ],
)
def test_at_the_low_end_it_matters_whether_something_lies_below(space: Space, word: str) -> None:
    competing = (
        control_arm(4, space=MIDDLE),
        pc_arm(40, space={**MIDDLE, "lambda_over_n": space}),
    )
    state = run(plan_of(*competing, finalist_configs=1), with_gain(-20, best=0.0)).state
    choice = state.arms[STUDY, "pc"].choice
    assert choice is not None
    assert choice.edge == "low"
    assert judged(state).word == word


@pytest.mark.parametrize(
    ("key", "space", "word"),
    [
        ("weight_decay", Space.between(0.0, 0.01), "helps"),  # less than none there is not
        ("weight_decay", Space.between(0.001, 0.01), "withheld"),
        ("head_only_epochs", Space.of((0, 1, 2)), "helps"),
        ("batch_size", Space.of((2, 4)), "helps"),
        ("batch_size", Space.of((4, 6, 8)), "withheld"),
        ("batch_size", Space.of((4, 8)), "helps"),
    ],
)
def test_an_end_beyond_which_nothing_can_lie_withholds_nothing(
    key: str, space: Space, word: str
) -> None:
    """The control loses with the lowest value of its range."""
    own = {**MIDDLE, "lambda_over_n": Space.between(0.05, 0.15)}
    competing = (
        control_arm(20, space={**MIDDLE, key: space}, fixed={}),
        pc_arm(4, space=own, fixed={key: space.lowest}),
    )

    def curve(spec: TrialSpec, epoch: int) -> float:
        value = spec.config.get(key, 0) if spec.arm == "control" else 0
        return with_gain(30, 0.2)(spec, epoch) - 20 * value / space.highest

    state = run(plan_of(*competing, finalist_configs=1), curve).state
    choice = state.arms[STUDY, "control"].choice
    assert choice is not None
    assert choice.edges[key] == "low"
    assert judged(state).word == word
    told = [line for line in notes_of(state) if f"Widen search.{key}" in line]
    assert len(told) == (word == "withheld")


def test_arms_share_the_error_rate() -> None:
    other = control_arm(
        4, name="label_smoothing", parameter="label_smoothing",
        space={**MIDDLE, "label_smoothing": Space.between(0.02, 0.3)},
    )  # fmt: skip
    alone = run(plan_of(), with_gain(10)).state
    both = run(plan_of(*arms(), other), with_gain(10)).state
    one, shared = (gain_of(state, state.plan.studies[0], "pc") for state in (alone, both))
    assert one is not None
    assert shared is not None
    assert (one.level, shared.level) == (pytest.approx(0.96), pytest.approx(0.98))


def widened(campaign: Campaign, plan: Plan, curve: Curve, status: str = "complete") -> Campaign:
    from tests.search.driving import drive

    campaign.end(status)  # type: ignore[arg-type]
    journal = campaign._journal
    assert isinstance(journal, MemoryJournal)
    again = Campaign(plan, journal, Clock(), state=replay(journal.events))
    again.resume(host="here", pid=1, version="0")
    again.extend(plan, "the wider recipe")
    drive(again, curve)
    return again


def test_each_widening_looks_at_half_of_what_is_left() -> None:
    """4 % of the 5 are the first look's; then half of the rest each: 0.5, 0.25 %, ..."""
    campaign = run(plan_of(), with_gain(0))
    for seeds in (5, 7):
        campaign = widened(campaign, plan_of(seeds=seeds), with_gain(0))
    looks = campaign.state.looks[STUDY]
    assert [(look.seeds, look.alpha) for look in looks] == [
        (3, pytest.approx(0.04)), (5, pytest.approx(0.005)), (7, pytest.approx(0.0025)),
    ]  # fmt: skip
    assert sum(look.alpha for look in looks) < 0.05
    gain = gain_of(campaign.state, campaign.plan.studies[0], "pc")
    assert gain is not None
    assert gain.level == pytest.approx(0.9975)
    line = next(line for line in notes_of(campaign.state) if "were compared" in line)
    assert "compared 3 times (after 3, 5, 7 seeds)" in line
    assert "a level of 99.75 %" in line


def test_a_choice_that_is_confirmed_anew_is_looked_at_once_more() -> None:
    """A wider search that changes the choice trains it with seeds of the same number."""
    curve: Curve = lambda spec, epoch: with_gain(0, 0.5)(spec, epoch) + spec.index  # noqa: E731
    campaign = run(plan_of(finalist_configs=0), curve)
    wide = plan_of(*arms(trials=8), finalist_configs=0)
    campaign = widened(campaign, wide, curve)
    assert [(look.seeds, look.alpha) for look in campaign.state.looks[STUDY]] == [
        (3, pytest.approx(0.04)), (3, pytest.approx(0.005)),
    ]  # fmt: skip


def test_a_wider_search_that_keeps_the_choice_looks_no_more() -> None:
    curve: Curve = lambda spec, epoch: with_gain(0, 0.5)(spec, epoch) - spec.index  # noqa: E731
    campaign = run(plan_of(finalist_configs=0), curve)
    wide = plan_of(*arms(trials=8), finalist_configs=0)
    campaign = widened(campaign, wide, curve)
    assert campaign.done
    assert len(campaign.state.looks[STUDY]) == 1


def decided(most: int = 12, **changes: Any) -> Plan:
    """`confirm: {seeds: 3, until: decided, max_seeds: most}`."""
    return plan_of(seeds=most, confirm_looks=looks_of(3, most), **changes)


@pytest.mark.parametrize(
    ("seeds", "most", "expected"),
    [(3, 12, (3, 6, 12)), (5, 20, (5, 10, 20)), (5, 12, (5, 10, 12)), (4, 4, (4,)), (0, 20, (0,))],
)
def test_seeds_double_until_the_most(seeds: int, most: int, expected: tuple[int, ...]) -> None:
    assert looks_of(seeds, most) == expected


@pytest.mark.parametrize("gain", [30, -30])
def test_until_decided_stops_at_the_first_clear_verdict(gain: float) -> None:
    campaign = run(decided(), with_gain(gain))
    (event,) = looked(campaign)
    assert (event["seeds"], event["decided"]) == (3, True)
    assert event["alpha"] == pytest.approx(0.04 / 3), "three looks share four per cent"
    for arm in ("control", "pc"):
        assert len(campaign.state.arms[STUDY, arm].trials["confirm"]) == 3
    assert campaign.done
    told = notes_of(campaign.state)
    assert not [line for line in told if "so far" in line], told


def test_until_decided_goes_on_to_the_last_seed_where_nothing_is_clear() -> None:
    campaign = run(decided(), with_gain(0))
    assert [event["seeds"] for event in looked(campaign)] == [3, 6, 12]
    assert [event["decided"] for event in looked(campaign)] == [False] * 3
    assert sum(event["alpha"] for event in looked(campaign)) == pytest.approx(0.04)
    for arm in ("control", "pc"):
        confirm = campaign.state.arms[STUDY, arm].trials["confirm"]
        assert tuple(t.spec.config["seed"] for t in confirm) == campaign.plan.confirm_seeds
    assert judged(campaign.state) == Verdict("no clear difference")


def test_until_decided_goes_on_where_the_first_seeds_show_no_scatter() -> None:
    """Withheld for want of scatter is no decision: more seeds may show it."""

    def curve(spec: TrialSpec, epoch: int) -> float:
        late = spec.phase == "confirm" and spec.index >= 3
        return with_gain(10)(spec, epoch) if late else 60.0 + 10 * (spec.arm == "pc")

    campaign = run(decided(finalist_repeats=2), curve)
    assert [event["gains"]["pc"]["word"] for event in looked(campaign)] == ["withheld", "helps"]
    assert [event["decided"] for event in looked(campaign)] == [False, True]


def test_until_decided_stops_where_more_seeds_cannot_help() -> None:
    campaign = run(decided(test=10), with_gain(0))
    assert [(event["seeds"], event["decided"]) for event in looked(campaign)] == [(3, True)]


def test_a_decided_run_that_is_widened_takes_the_next_look() -> None:
    campaign = run(decided(), with_gain(30))
    campaign = widened(campaign, decided(most=24), with_gain(30))
    assert [look.seeds for look in campaign.state.looks[STUDY]] == [3, 6]
    assert sum(look.alpha for look in campaign.state.looks[STUDY]) < 0.05


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_cut_anywhere_it_goes_on_to_the_same_end(data: st.DataObject) -> None:
    """Two finalists twice and seeds until decided: every line of the journal may be the last."""
    gain = data.draw(st.sampled_from([0.0, 2.0, 10.0]), "gain")
    plan = plan_of(
        seeds=6, confirm_looks=(3, 6), sampler="tpe", max_epochs=3, grace_epochs=1,
        rung_rule="noise", full_trainings=2, widen="auto",
    )  # fmt: skip
    curve = data_curve(gain)
    whole = run(plan, curve)
    lines = events(whole)
    keep = data.draw(st.integers(1, len(lines)), "lines that are left")
    journal = MemoryJournal()
    journal.events = lines[:keep]
    again = Campaign(plan, journal, Clock(), state=replay(journal.events))
    again.advance()
    go_on(again, curve)
    assert [without_time(e) for e in journal.events] == [without_time(e) for e in lines]
    assert replay(journal.events).looks == again.state.looks == whole.state.looks
    history = History()
    for event in journal.events:
        history.check(event)


def data_curve(gain: float) -> Curve:
    def curve(spec: TrialSpec, epoch: int) -> float:
        return round(with_gain(gain)(spec, epoch) * (1 - 0.5**epoch), 3)

    return curve


def events(campaign: Campaign) -> list[Event]:
    assert isinstance(campaign._journal, MemoryJournal)
    return campaign._journal.events


def without_time(event: Event) -> Event:
    return {key: value for key, value in event.items() if key != "t"}


def go_on(campaign: Campaign, curve: Curve) -> None:
    """Train one trial after another to its end, those first that had been begun."""
    while (spec := campaign.next_trial()) is not None:
        trial = campaign.state.trials[spec.trial]
        for epoch in range(trial.last_epoch + 1, spec.epochs + 1):
            value, confirm = curve(spec, epoch), spec.phase == "confirm"
            test = {"top1": value, "mean_class_top1": value - 1}
            if not campaign.report(
                spec.trial, epoch, None if confirm else value, 1.0, {"lr": 0.1},
                test if confirm and epoch == spec.epochs else None,
            ):  # fmt: skip
                break


def test_the_test_images_of_a_campaign_widen_its_interval() -> None:
    """Hits are in the journal, so that the choice of images counts, too."""

    def hits(right: list[bool]) -> str:
        return base64.b64encode(np.packbits(np.array(right, dtype=np.uint8)).tobytes()).decode()

    def state_with(keep: bool) -> CampaignState:
        campaign = Campaign(plan_of(test=100), MemoryJournal(), Clock())
        while (spec := campaign.next_trial()) is not None:
            if spec.phase != "confirm":
                train(campaign, spec, with_gain(0))
                continue
            # PC names the last 20 images right in every training, the control none of them
            known = 80 if spec.arm == "control" else 100
            luck = random.Random(f"{spec.arm} {spec.config['seed']}")
            right = [n < known and luck.random() < 0.9 for n in range(100)]
            top1 = {"top1": float(sum(right))}
            campaign.report(spec.trial, 1, None, 1.0, {}, top1, hits=hits(right) if keep else None)
        return campaign.state

    with_hits, without = (
        gain_of(state, state.plan.studies[0], "pc")
        for state in (state_with(keep=True), state_with(keep=False))
    )
    assert with_hits is not None
    assert without is not None
    assert with_hits.mean == without.mean
    assert without.parts.images is None
    assert with_hits.parts.images is not None
    assert with_hits.parts.images > 1
    assert with_hits.low is not None
    assert without.low is not None


@pytest.mark.parametrize("status", ["complete", "failed", "interrupted"])
def test_a_campaign_that_ended_has_been_looked_at_once(status: Any) -> None:
    """A journal of versions that wrote no look counts as looked at once; a new one as it says."""
    campaign = run(plan_of(), with_gain(0))
    campaign.end(status)
    assert len(campaign.state.looks[STUDY]) == 1
    old = replay([event for event in events(campaign) if event["event"] != "looked"])
    expected = [] if status == "interrupted" else [Look(3, 0.04, decided=False)]
    assert old.looks[STUDY] == expected


@pytest.mark.parametrize(("ends", "cause"), [("diverge", "diverged"), ("fail", "failed")])
def test_withheld_where_no_search_trial_of_an_arm_was_trained(ends: str, cause: str) -> None:
    """What its finalists then train is the other arm's, with a λ that nobody has tried."""
    campaign = Campaign(plan_of(), MemoryJournal(), Clock())
    curve = with_gain(-30)
    while (spec := campaign.next_trial()) is not None:
        if spec.arm == "pc" and spec.phase == "search":
            getattr(campaign, ends)(spec.trial, "loss became nan")
            continue
        value = curve(spec, 1)
        test = {"top1": value, "mean_class_top1": value} if spec.phase == "confirm" else None
        campaign.report(spec.trial, 1, None if test else value, 1.0, {}, test)
    verdict = judged(campaign.state)
    assert verdict == Verdict("withheld", "no search trial of PC was trained to the end")


@pytest.mark.parametrize(("trials", "word"), [(1, "withheld"), (2, "withheld"), (3, "hurts")])
def test_an_arm_is_not_blamed_for_a_parameter_that_was_hardly_searched(
    trials: int, word: str
) -> None:
    assert judged(run(plan_of(*arms(trials)), with_gain(-20)).state).word == word
    assert judged(run(plan_of(*arms(trials)), with_gain(20)).state).word == "helps"
    fixed = {**MIDDLE, "lambda_over_n": Space.fixed(0.1)}
    competing = control_arm(trials, space=MIDDLE), pc_arm(trials, space=fixed)
    assert judged(run(plan_of(*competing), with_gain(-20)).state).word == "hurts"


def test_always_the_most_frequent_class_is_nothing_learned() -> None:
    """70 % of the images are of one of ten classes: 70 % right is no more than a guess."""
    plan = plan_of()
    (study,) = plan.studies
    for majority, word in ((70.0, "withheld"), (60.0, "hurts")):
        images = study.images.model_copy(update={"majority": majority})
        of = plan.model_copy(update={"studies": (study.model_copy(update={"images": images}),)})

        def curve(spec: TrialSpec, epoch: int) -> float:
            return 70.0 if spec.arm == "pc" else 80 + with_gain(0)(spec, epoch) % 1

        verdict = judged(run(of, curve).state)
        assert verdict.word == word
        assert (verdict.reason == "PC learned nothing") == (word == "withheld")


def test_a_class_mean_is_guessed_by_one_class_in_n_whatever_their_sizes() -> None:
    (study,) = plan_of().studies
    images = study.images.model_copy(update={"majority": 70.0})
    uneven = study.model_copy(update={"images": images})
    assert uneven.guessing("top1") == 70.0
    assert uneven.guessing("mean_class_top1") == 100 / study.num_classes
    assert study.guessing("top1") == 100 / study.num_classes, "journals that do not say it"


def test_a_look_that_cannot_decide_costs_nothing() -> None:
    """One pair of trainings can say neither word, so the first look with an interval has 4 %."""
    campaign = run(plan_of(seeds=1), with_gain(10))
    plan = campaign.plan.model_copy(update={"confirm_seeds": confirm_seeds(0, 4)})
    campaign.end("complete")
    wider = Campaign(plan, campaign._journal, Clock(), state=campaign.state)
    wider.resume(host="here", pid=1, version="0")
    wider.extend(plan, "name: wider")
    from tests.search.driving import drive

    drive(wider, with_gain(10))
    assert [(event["seeds"], event["alpha"]) for event in looked(wider)] == [
        (1, pytest.approx(0.04)),
        (4, pytest.approx(0.04)),
    ]
    assert [look.could_decide for look in wider.state.looks[STUDY]] == [False, True]
    assert not any("were compared" in line for line in notes(summarise(wider.state), wider.state))


def test_before_a_look_is_written_a_summary_shows_its_level() -> None:
    campaign = run(plan_of(), with_gain(0))
    journal = campaign._journal
    assert isinstance(journal, MemoryJournal)
    plan = campaign.plan.model_copy(update={"confirm_seeds": confirm_seeds(0, 5)})
    campaign.end("complete")
    wider = Campaign(plan, journal, Clock(), state=campaign.state)
    wider.resume(host="here", pid=1, version="0")
    wider.extend(plan, "name: wider")
    from tests.search.driving import drive

    drive(wider, with_gain(0))
    (study,) = plan.studies
    last = max(i for i, event in enumerate(journal.events) if event["event"] == "looked")
    cut, whole = replay(journal.events[:last]), replay(journal.events[: last + 1])
    assert gain_of(cut, study, "pc") == gain_of(whole, study, "pc")


def test_a_running_confirm_trial_withholds_the_verdict() -> None:
    """All were asked, all but one have ended, and those would make an interval."""
    campaign = Campaign(plan_of(), MemoryJournal(), Clock(), max_concurrent=20)
    curve = with_gain(10)
    asked: list[TrialSpec] = []
    while (spec := campaign.next_trial()) is not None:
        if spec.phase == "confirm":
            asked.append(spec)
            continue
        campaign.report(spec.trial, 1, curve(spec, 1), 1.0, {}, None)
    for spec in asked[:-1]:
        value = curve(spec, 1)
        campaign.report(spec.trial, 1, None, 1.0, {}, {"top1": value, "mean_class_top1": value})
    assert len(asked) == 6
    assert judged(campaign.state).reason == "not all confirm seeds are measured yet"


@pytest.mark.parametrize(("value", "nothing"), [(11.9, True), (12.1, False), (15.0, False)])
def test_learned_nothing_ends_at_a_fifth_above_guessing(value: float, nothing: bool) -> None:
    """Of 10 classes and 30,000 test images, by which chance explains no more than 0.5 points."""
    curve = lambda spec, epoch: value if spec.arm == "pc" else 60 + with_gain(0)(spec, epoch) % 1  # noqa: E731
    state = run(plan_of(test=300), curve).state
    (study,) = state.plan.studies
    assert learned_nothing(state, study, "pc") == nothing


@pytest.mark.parametrize("failing", ["pc", "control"])
def test_without_a_measured_pair_the_reason_says_what_happened(failing: str) -> None:
    fails = {f"{STUDY}/{failing}/confirm-{n:03d}": 1 for n in range(3)}
    state = run(plan_of(), with_gain(0), fails=fails).state
    reason = "only 0 of 3 confirm seeds were trained to the end in both arms"
    assert judged(state) == Verdict("withheld", reason)
    one = {f"{STUDY}/pc/confirm-{n:03d}": 1 for n in (0, 2)}
    reason = judged(run(plan_of(), with_gain(0), fails=one).state).reason or ""
    assert reason == "only 1 of 3 confirm seeds were trained to the end in both arms"
