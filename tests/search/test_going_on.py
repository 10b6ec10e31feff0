"""Campaigns that are cut, begun again, lose their workers, or become wider."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsearch.cli.views.progress import snapshot
from pcsearch.errors import UserError
from pcsearch.execution.resume import _check_recipe
from pcsearch.recipe.search_space import Space
from pcsearch.reporting.notes import notes
from pcsearch.reporting.summary import summarise
from pcsearch.reporting.summary_types import StudySummary
from pcsearch.search.budget import certain
from pcsearch.search.campaign import Campaign
from pcsearch.search.decisions import LOST_NODES, RETRIES
from pcsearch.search.journal.journal_file import Event, MemoryJournal
from pcsearch.search.journal.validate import History
from pcsearch.search.next_trial import nothing_left
from pcsearch.search.plan import Plan, confirm_seeds
from pcsearch.search.state import CampaignState, replay
from pcsearch.search.trial import TrialSpec
from tests.search.driving import (
    Clock,
    Curve,
    control_arm,
    make_plan,
    pc_arm,
    run,
    smooth_curve,
    study_plan,
)  # fmt: skip

STUDY = "digits/compact_cnn"
HISTORY = ("asked", "epoch", "failed", "diverged", "chosen", "looked", "given_up", "search_closed")


class Machine:
    """Trains trials by a curve, with a checkpoint every few epochs, and dies when told to."""

    def __init__(self, seed: int = 0, every: int = 3, curve: Curve = smooth_curve) -> None:
        self.random = random.Random(seed)
        self.every = every
        self.curve = curve
        self.saved: dict[str, int] = {}

    def work(self, campaign: Campaign, steps: int | None = None) -> bool:
        """Report epochs until the campaign is done (True), or as many as `steps`."""
        at: dict[str, tuple[TrialSpec, int]] = {}
        while steps is None or steps > 0:
            while (spec := campaign.next_trial()) is not None:
                assert spec.trial not in at, "a trial runs twice"
                at[spec.trial] = spec, 0
            if not at:
                return campaign.done
            name = self.random.choice(list(at))
            spec, epoch = at[name]
            if not self._report(campaign, spec, epoch + 1):
                del at[name]
            else:
                at[name] = spec, epoch + 1
            steps = None if steps is None else steps - 1
        return False

    def _report(self, campaign: Campaign, spec: TrialSpec, epoch: int) -> bool:
        confirm, value = spec.phase == "confirm", self.curve(spec, epoch)
        last = confirm and epoch == spec.epochs
        replayed = epoch <= self.saved.get(spec.trial, 0)
        if not replayed and epoch % self.every == 0:
            self.saved[spec.trial] = epoch  # before the report, as a worker does
        return campaign.report(
            spec.trial, epoch, None if confirm else value, 1.0, {"lr": 0.1},
            {"top1": value, "mean_class_top1": value - 1} if last else None,
            attempt=campaign.state.trials[spec.trial].attempt, replayed=replayed,
        )  # fmt: skip


def lines(campaign: Campaign) -> list[Event]:
    assert isinstance(campaign._journal, MemoryJournal)
    return campaign._journal.events


def history(campaign: Campaign) -> list[dict[str, Any]]:
    """What was asked, measured and decided, in order, without the time."""
    return [
        {key: value for key, value in event.items() if key != "t"}
        for event in lines(campaign)
        if event["event"] in HISTORY
    ]


def gone_on(
    cut: Campaign, max_concurrent: int = 1, keep: int | None = None, wider: Plan | None = None
) -> Campaign:
    """A new process over the journal, whose last lines may have been lost."""
    journal = MemoryJournal()
    journal.events = lines(cut)[: keep or None]
    state = replay(journal.events)
    campaign = Campaign(state.plan, journal, Clock(), max_concurrent=max_concurrent, state=state)
    campaign.resume(host="here", pid=1, version="0")
    if wider is not None:
        campaign.extend(wider, "the wider recipe")
    campaign.advance()
    return campaign


def check_history(campaign: Campaign) -> None:
    """Whether a reader would take the journal."""
    history = History()
    for event in lines(campaign):
        history.check(event)


@given(seed=st.integers(0, 10_000), kills=st.integers(1, 20))
@settings(max_examples=25, deadline=None)
def test_killed_at_any_moment_one_at_a_time_it_decides_the_same(seed: int, kills: int) -> None:
    plan = make_plan(finalist_configs=2, finalist_repeats=1)
    whole = Campaign(plan, MemoryJournal(), Clock())
    assert Machine().work(whole)
    choose, machine = random.Random(seed), Machine(seed)
    campaign = Campaign(plan, MemoryJournal(), Clock())
    for _ in range(kills):
        if machine.work(campaign, steps=choose.randrange(1, 15)):
            break
        campaign = gone_on(campaign)
    assert machine.work(campaign)
    assert history(campaign) == history(whole)
    assert summarise(campaign.state).studies == summarise(whole.state).studies


@given(seed=st.integers(0, 10_000), max_concurrent=st.integers(2, 5))
@settings(max_examples=25, deadline=None)
def test_with_several_at_once_none_is_lost_and_none_runs_twice(
    seed: int, max_concurrent: int
) -> None:
    choose, machine = random.Random(seed), Machine(seed)
    campaign = Campaign(make_plan(), MemoryJournal(), Clock(), max_concurrent=max_concurrent)
    while not machine.work(campaign, steps=choose.randrange(1, 40)):
        running = {name: trial.last_epoch for name, trial in campaign.state.running.items()}
        waste = {name: epoch - machine.saved.get(name, 0) for name, epoch in running.items()}
        before = len(lines(campaign))
        campaign = gone_on(campaign, max_concurrent)
        assert len(campaign.state.running) == len(running)
        assert all(t.attempt > 0 for t in campaign.state.running.values())
        assert before + 1 == len(lines(campaign))
        assert all(0 <= epochs < machine.every for epochs in waste.values())
    asked = [event["spec"]["trial"] for event in lines(campaign) if event["event"] == "asked"]
    assert len(asked) == len(set(asked)) == 2 * (12 + 3)
    epochs = [(e["trial"], e["epoch"]) for e in lines(campaign) if e["event"] == "epoch"]
    assert len(epochs) == len(set(epochs))
    repeated = [e for e in lines(campaign) if e["event"] == "repeated"]
    assert all(event["same"] for event in repeated)
    assert summarise(campaign.state).interruptions.repeated_epochs == len(repeated)


def test_repeated_epochs_are_counted_and_compared() -> None:
    campaign = Campaign(make_plan(), MemoryJournal(), Clock())
    spec = campaign.next_trial()
    assert spec is not None
    for epoch, value in ((1, 50.0), (2, 60.0)):
        assert campaign.report(spec.trial, epoch, value, 1.0, {"lr": 0.1}, attempt=0)
    campaign = gone_on(campaign)
    assert campaign.next_trial() == spec
    assert not campaign.report(spec.trial, 1, 50.0, 1.0, {"lr": 0.1}, attempt=0), "the old worker"
    assert campaign.report(spec.trial, 1, 50.0, 2.0, {"lr": 0.1}, attempt=1, replayed=True)
    assert campaign.report(spec.trial, 2, 60.5, 2.0, {"lr": 0.1}, attempt=1)
    trial = campaign.state.trials[spec.trial]
    assert (trial.repeated, trial.repeated_seconds, trial.differing) == (1, 2.0, 1)
    assert trial.last_value == 60.0, "what was decided with stays"


def test_a_narrower_machine_begins_trials_again_as_there_is_room() -> None:
    campaign = Campaign(make_plan(), MemoryJournal(), Clock(), max_concurrent=4)
    first = [campaign.next_trial() for _ in range(4)]
    campaign = gone_on(campaign, max_concurrent=2)
    assert [campaign.next_trial(), campaign.next_trial(), campaign.next_trial()] == [
        first[0], first[1], None,
    ]  # fmt: skip
    assert first[0] is not None
    campaign.fail(first[0].trial, "for good")
    assert campaign.next_trial() == first[2]


def test_workers_that_die_or_hang_use_up_retries_and_lost_nodes_do_not() -> None:
    campaign = Campaign(make_plan(), MemoryJournal(), Clock())
    spec = campaign.next_trial()
    assert spec is not None
    for number in range(5):
        campaign.lost(spec.trial, "its node was lost", "node")
        assert campaign.next_trial() == spec
        assert campaign.state.trials[spec.trial].attempt == number + 1
    for _ in range(RETRIES):
        campaign.lost(spec.trial, "its worker died", "worker")
        assert campaign.next_trial() == spec
    campaign.lost(spec.trial, "its worker hung", "hang")
    trial = campaign.state.trials[spec.trial]
    assert (trial.state, trial.error) == ("FAILED", "its worker hung (started 8 times)")


def test_nodes_lost_without_an_epoch_in_between_are_bounded() -> None:
    campaign = Campaign(make_plan(), MemoryJournal(), Clock())
    spec = campaign.next_trial()
    assert spec is not None
    for _ in range(LOST_NODES):
        campaign.lost(spec.trial, "its node was lost", "node")
    attempt = campaign.state.trials[spec.trial].attempt
    assert campaign.report(spec.trial, 1, 50.0, 1.0, {}, attempt=attempt)
    for _ in range(LOST_NODES):  # an epoch came in between: it counts anew
        campaign.lost(spec.trial, "its node was lost", "node")
    assert campaign.state.trials[spec.trial].state == "RUNNING"
    campaign.lost(spec.trial, "its node was lost", "node")
    assert campaign.state.trials[spec.trial].state == "FAILED"


def test_a_trial_in_smaller_batches_is_never_chosen_and_moves_no_rung() -> None:
    arms = (pc_arm(trials=6),)
    plan = make_plan(studies=(study_plan(arms=arms),), grace_epochs=3, confirm_seeds=())
    campaign = Campaign(plan, MemoryJournal(), Clock())
    best = Machine(curve=lambda spec, epoch: 99.0 if spec.index == 1 else 50.0 + spec.index)
    first = campaign.next_trial()
    assert first is not None
    for epoch in range(1, 10):
        campaign.report(first.trial, epoch, 50.0, 1.0, {})
    second = campaign.next_trial()
    assert second is not None
    campaign.lost(second.trial, "out of memory", "memory")
    assert campaign.state.trials[second.trial].micro_batches == 2
    assert best.work(campaign)
    arm = campaign.state.arms[STUDY, "pc"]
    assert campaign.state.trials[second.trial].state == "COMPLETE"
    assert 99.0 not in arm.ladder.values(3)
    assert arm.choice is not None
    assert arm.choice.source != second.trial
    again = Campaign(plan, MemoryJournal(), Clock())
    spec = again.next_trial()
    assert spec is not None
    again.lost(spec.trial, "out of memory", "memory")
    again.lost(spec.trial, "out of memory", "memory")
    assert again.state.trials[spec.trial].state == "FAILED"


def test_a_study_whose_trials_all_fail_alike_is_given_up_early() -> None:
    def loses(campaign: Campaign, errors: list[str]) -> None:
        for error in errors:
            spec = campaign.next_trial()
            assert spec is not None
            campaign.fail(spec.trial, error)

    alike = [f"Traceback\n  line {n}\nValueError: no such layer, seed {n}" for n in range(3)]
    campaign = Campaign(make_plan(), MemoryJournal(), Clock())
    loses(campaign, alike)
    assert campaign.done
    for arm in campaign.state.arms.values():
        assert "its first 3 trials failed for the same reason" in (arm.given_up or "")
        assert "ValueError: no such layer, seed 0" in (arm.given_up or "")
    for errors in ([*alike[:2], "another reason"], alike[:2]):
        other = Campaign(make_plan(), MemoryJournal(), Clock())
        loses(other, errors)
        assert other.next_trial() is not None
    trained = Campaign(make_plan(), MemoryJournal(), Clock(), max_concurrent=4)
    specs = [trained.next_trial() for _ in range(4)]
    assert specs[0] is not None
    trained.report(specs[0].trial, 1, 50.0, 1.0, {})
    for spec, error in zip(specs[1:], alike, strict=True):
        assert spec is not None
        trained.fail(spec.trial, error)
    assert trained.next_trial() is not None, "one trains, so there is hope"


def given_up_at_width(max_concurrent: int) -> Campaign:
    """A campaign whose study is given up while `max_concurrent - 1` further trials run."""
    campaign = Campaign(make_plan(), MemoryJournal(), Clock(), max_concurrent=max_concurrent)
    for number in range(3):
        while campaign.next_trial() is not None:
            pass
        campaign.fail(next(iter(campaign.state.running)), f"no such layer, seed {number}")
    return campaign


@pytest.mark.parametrize("max_concurrent", [2, 4])
def test_a_driver_that_ends_while_it_gives_a_study_up_goes_on_to_do_so(max_concurrent: int) -> None:
    """Cut after each of its lines, with the closing line of a driver that could still write it."""
    campaign = given_up_at_width(max_concurrent)
    assert campaign.done
    kinds = [event["event"] for event in lines(campaign)]
    first = kinds.index("given_up")
    assert kinds[first:].count("failed") == max_concurrent - 1
    for keep in range(first, len(kinds)):
        cut = gone_on(campaign, keep=keep)
        cut.end("interrupted")
        again = gone_on(cut, max_concurrent=max_concurrent)
        assert again.done, f"cut after {keep} lines"
        again.end("failed")
        check_history(again)
        assert snapshot_of(replay(lines(again))) == snapshot_of(again.state)


def test_a_study_that_was_given_up_has_another_chance_when_it_is_widened() -> None:
    campaign = given_up_at_width(2)
    asked = len(campaign.state.arms[STUDY, "pc"].trials["search"])
    campaign = widened(campaign, wider_plan(20))
    assert Machine().work(campaign), "its cause was mended"
    pc = campaign.state.arms[STUDY, "pc"]
    assert len(pc.trials["search"]) == 20 > asked
    assert pc.given_up is None
    assert pc.choice is not None
    again = given_up_at_width(2)
    again = widened(again, wider_plan(20))
    for number in range(3):
        assert not again.done, "three further failures, not the earlier ones, give it up again"
        spec = again.next_trial()
        assert spec is not None
        again.fail(spec.trial, f"no such layer, seed {number}")
    assert again.done
    check_history(again)


def test_what_trained_before_it_was_widened_is_hope_enough() -> None:
    campaign = widened(run(wider_plan(4)), wider_plan(12))
    for _ in range(4):
        spec = campaign.next_trial()
        assert spec is not None
        campaign.fail(spec.trial, "no such layer")
    assert campaign.next_trial() is not None


def test_a_study_that_never_fits_into_memory_is_given_up_early() -> None:
    campaign = Campaign(make_plan(), MemoryJournal(), Clock())
    for number in range(3):
        spec = campaign.next_trial()
        assert spec is not None
        campaign.lost(spec.trial, "out of memory", "memory")
        if number < 2:
            assert campaign.next_trial() == spec
            for epoch in range(1, 10):
                campaign.report(spec.trial, epoch, 50.0, 1.0, {}, attempt=1)
    assert campaign.done
    reason = campaign.state.arms[STUDY, "pc"].given_up or ""
    assert "ran out of memory with whole batches; lower train.batch_size" in reason
    assert campaign.state.trials[spec.trial].state == "FAILED"
    assert snapshot_of(replay(lines(campaign))) == snapshot_of(campaign.state)


def widened(campaign: Campaign, plan: Plan) -> Campaign:
    campaign.end("complete")
    return gone_on(campaign, wider=plan)


def scattered(spec: TrialSpec, epoch: int) -> float:
    """The smooth curve with luck that differs between the arms, so that gains scatter."""
    luck = random.Random(f"{spec.arm} {spec.config['seed']}").random()
    return smooth_curve(spec, epoch) + luck


def test_more_seeds_are_confirmed_and_nothing_else() -> None:
    campaign = run(make_plan(), scattered)
    before = history(campaign)
    campaign = widened(campaign, make_plan(confirm_seeds=confirm_seeds(0, 5)))
    assert not campaign.done
    assert Machine(curve=scattered).work(campaign)
    added = history(campaign)[len(before) :]
    assert {event["event"] for event in added} == {"asked", "epoch", "looked"}
    asked = [event["spec"] for event in added if event["event"] == "asked"]
    assert [(spec["arm"], spec["phase"], spec["index"]) for spec in asked] == [
        ("control", "confirm", 3), ("control", "confirm", 4),
        ("pc", "confirm", 3), ("pc", "confirm", 4),
    ]  # fmt: skip
    assert campaign.state.recipe == "the wider recipe"
    whole = run(make_plan(confirm_seeds=confirm_seeds(0, 5)), scattered)
    assert [(look.seeds, look.alpha) for look in campaign.state.looks[STUDY]] == [
        (3, pytest.approx(0.04)), (5, pytest.approx(0.005)),
    ]  # fmt: skip
    (more,), (once,) = (summarise(state).studies for state in (campaign.state, whole.state))
    assert unjudged(more) == unjudged(once)
    second, first = more.arms["pc"].gain, once.arms["pc"].gain
    assert second is not None
    assert first is not None
    assert (second.level, first.level) == (pytest.approx(0.995), pytest.approx(0.96))
    assert (second.mean, second.parts, second.p_value) == (first.mean, first.parts, first.p_value)
    assert second.low is not None
    assert first.low is not None
    assert second.low < first.low, "a second look at the test images costs certainty"


def unjudged(study: StudySummary) -> StudySummary:
    """A study's summary without what depends on how often its test accuracies were compared."""
    arms = {name: replace(arm, gain=None, verdict=None) for name, arm in study.arms.items()}
    return replace(study, arms=arms, looks=())


def wider_plan(trials: int, **changes: Any) -> Plan:
    arms = (control_arm(trials), pc_arm(trials))
    return make_plan(studies=(study_plan(arms=arms),), **changes)


def test_more_trials_open_the_search_again_and_decide_anew() -> None:
    campaign = run(wider_plan(6))
    first = {arm: campaign.state.arms[STUDY, arm].choice for arm in ("control", "pc")}
    campaign = widened(campaign, wider_plan(12))
    assert not nothing_left(campaign.state)
    assert Machine().work(campaign)
    whole = run(wider_plan(12))
    for name in ("control", "pc"):
        arm, expected = campaign.state.arms[STUDY, name], whole.state.arms[STUDY, name]
        assert len(arm.trials["search"]) == 12
        specs = [trial.spec for trial in arm.trials["search"]]
        assert specs[:6] == [trial.spec for trial in expected.trials["search"]][:6]
        assert arm.choice is not None
        assert len(arm.trials["confirm"]) == 3
        confirmed = {trial.spec.config["lr"] for trial in arm.trials["confirm"]}
        assert confirmed == {arm.choice.config["lr"]}
        again = first[name] is not None and first[name].config == arm.choice.config
        assert len(arm.earlier) == (0 if again else 3), "confirmed trials of the same choice count"
    assert snapshot_of(replay(lines(campaign))) == snapshot_of(campaign.state)
    anew = sum(bool(campaign.state.arms[STUDY, name].earlier) for name in ("control", "pc"))
    assert anew
    told = notes(summarise(campaign.state), campaign.state)
    assert sum("was chosen again when the search was widened" in line for line in told) == anew
    seen = snapshot(campaign.state, 0.0, 1)
    assert seen.ended == seen.planned, "what was set aside was planned, too"


def snapshot_of(state: Any) -> object:
    return (
        state.plan,
        {name: vars(trial) for name, trial in state.trials.items()},
        {place: (arm.choice, arm.given_up, arm.earlier) for place, arm in state.arms.items()},
    )


def test_a_choice_that_is_made_again_keeps_its_confirm_trials() -> None:
    """The best of the first trials stays the best: nothing is trained on the test images twice."""
    curve: Curve = lambda spec, epoch: 90.0 - spec.index if spec.index < 4 else 10.0  # noqa: E731
    campaign = run(wider_plan(4), curve)
    campaign = widened(campaign, wider_plan(8))
    machine = Machine(curve=curve)
    assert machine.work(campaign)
    confirm = [e for e in history(campaign) if e["event"] == "asked"]
    assert sum(event["spec"]["phase"] == "confirm" for event in confirm) == 2 * 3


def test_what_a_widened_search_still_costs_counts_all_new_finalists() -> None:
    """Until it is over all that are retrained may be newcomers; then their number is known."""
    plan = {trials: wider_plan(trials, finalist_configs=2, finalist_repeats=2) for trials in (6, 9)}
    newcomers: Curve = lambda spec, epoch: smooth_curve(spec, epoch) + 40 * (spec.index > 5)  # noqa: E731
    campaign = widened(run(plan[6], newcomers), plan[9])
    done = {arm: campaign.state.arms[STUDY, arm] for arm in ("control", "pc")}
    before = {arm: len(state.trials["finalists"]) for arm, state in done.items()}
    reckoned: dict[str, list[int]] = {"control": [], "pc": []}

    def reckon(event: Event, state: CampaignState) -> None:
        for (_, work), arm in zip(certain(state), done, strict=True):
            if done[arm].choice is None:
                reckoned[arm].append(len(done[arm].trials["finalists"]) + work.finalists)

    campaign._listener = reckon
    assert Machine(curve=newcomers).work(campaign)
    for arm, expected in reckoned.items():
        asked = len(done[arm].trials["finalists"])
        assert asked > before[arm], "newcomers were retrained"
        assert min(expected) >= asked, "never reckoned with fewer than there were"
        assert expected[-1] == asked


def test_more_datasets_are_searched_beside_what_is_done() -> None:
    campaign = run(make_plan())
    both = make_plan(studies=(study_plan("digits"), study_plan("birds")))
    campaign = widened(campaign, both)
    before = len(lines(campaign))
    assert Machine().work(campaign)
    studies = {e["spec"]["study"] for e in lines(campaign)[before:] if e["event"] == "asked"}
    assert studies == {"birds/compact_cnn"}


def test_a_larger_budget_opens_a_search_that_the_smaller_one_closed() -> None:
    campaign = run(make_plan(budget_seconds=100.0))
    assert campaign.state.search_closed is not None
    asked = len(campaign.state.trials)
    campaign = widened(campaign, make_plan(budget_seconds=1e6))
    assert campaign.state.search_closed is None
    assert Machine().work(campaign)
    assert len(campaign.state.trials) > asked
    assert all(len(arm.trials["search"]) == 12 for arm in campaign.state.arms.values())


def test_a_borrowed_configuration_follows_its_lender() -> None:
    def plan(trials: int) -> Plan:
        arms = (control_arm(trials=0, space={}, borrows="pc"), pc_arm(trials=trials))
        return make_plan(studies=(study_plan(arms=arms),))

    campaign = widened(run(plan(4)), plan(12))
    assert Machine().work(campaign)
    control, pc = (campaign.state.arms[STUDY, arm] for arm in ("control", "pc"))
    assert control.choice is not None
    assert pc.choice is not None
    assert control.choice.config == {**pc.choice.config, "lambda": 0.0, "lambda_over_n": 0.0}


@pytest.mark.parametrize("keep", [1, 2, 40])
def test_a_journal_that_lost_its_last_lines_goes_on(keep: int) -> None:
    whole = run(make_plan())
    cut = gone_on(whole, keep=keep)
    assert Machine().work(cut)
    assert history(cut) == history(whole)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seed": 7}, r"differ in seed: .* \(7 in the recipe, 0 in the journal\)"),
        ({"reduction_factor": 2}, "differ in reduction_factor"),
        ({"space": {"lr": Space.between(0.01, 3.0, log=True)}},
         r"the range of lr of control: .*high: 3.*in the recipe, .*high: 0\.3.* in the journal"),
        ({"fixed": {"weight_decay": 0.5, "batch_size": 32}}, "the fixed values of control"),
    ],
)  # fmt: skip
def test_a_recipe_that_was_edited_beside_its_journal_is_told(
    change: dict[str, Any], told: str
) -> None:
    plan = make_plan()
    _check_recipe(plan, plan)
    wider = control_arm(trials=40), pc_arm(trials=40)
    _check_recipe(plan, make_plan(studies=(study_plan(arms=wider),), startup_trials=9))
    of_arm = {key: change[key] for key in change if key in ("space", "fixed")}
    arms = (control_arm(**of_arm), pc_arm())
    changes = {} if of_arm else change
    edited = make_plan(studies=(study_plan(arms=arms),), **changes)
    with pytest.raises(UserError, match=told):
        _check_recipe(plan, edited)
    _check_recipe(plan.model_copy(update={"schema_version": 1}), edited)
