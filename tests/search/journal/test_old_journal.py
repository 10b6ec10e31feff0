"""A journal of a version before looks, edges and the newer plan keys is read and resumed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pcsearch.reporting.notes import notes
from pcsearch.reporting.summary import summarise
from pcsearch.search.campaign import Campaign
from pcsearch.search.journal.journal_file import FileJournal, MemoryJournal, read_events
from pcsearch.search.journal.validate import History
from pcsearch.search.plan import confirm_seeds
from pcsearch.search.state import Look, replay
from tests.search.driving import Clock, drive, smooth_curve

STUDY = "digits/compact_cnn"
OLD = Path(__file__).parent / "journal_without_looks.jsonl"
"""A finished campaign: 3 trials an arm, one of them failed, 1 finalist an arm, 2 confirm seeds."""


def test_it_has_nothing_of_what_came_later() -> None:
    events = list(read_events(OLD))
    assert len(events) == 37
    assert {event["event"] for event in events} == {
        "campaign", "asked", "epoch", "failed", "chosen", "ended",
    }  # fmt: skip
    newer = {"confirm_looks", "rung_rule", "full_trainings", "widen"}
    assert not newer & events[0]["plan"].keys()
    assert not any("edges" in event for event in events)


def test_it_replays_as_it_was_decided_and_looked_at_once() -> None:
    history = History()
    for event in read_events(OLD):
        history.check(event)
    state = replay(read_events(OLD))
    plan = state.plan
    assert (plan.rung_rule, plan.full_trainings, plan.widen) == ("plain", 0, "never")
    assert (state.status, plan.looks) == ("complete", (2,))
    assert state.looks == {STUDY: [Look(2, 0.04, decided=False)]}
    assert state.unseen == set()
    scores = {"control": 57.17, "pc": 63.205}
    for arm, score in scores.items():
        choice = state.arms[STUDY, arm].choice
        assert choice is not None
        assert (choice.score, choice.edges) == (pytest.approx(score), {})
    summary = summarise(state)
    pc = summary.studies[0].arms["pc"]
    assert pc.test_top1 is not None
    assert pc.test_top1.values == (62.89, 62.98)
    assert pc.gain is not None
    assert pc.gain.mean == pytest.approx(5.85)
    assert pc.verdict is not None
    assert pc.verdict.word == "withheld"
    assert not any("were compared" in line for line in summary.notes)


def test_nothing_is_left_of_it_and_going_on_adds_nothing() -> None:
    journal = MemoryJournal()
    journal.events = list(read_events(OLD))
    campaign = Campaign(replay(journal.events).plan, journal, Clock(), state=replay(journal.events))
    assert campaign.done
    campaign.advance()
    assert len(journal.events) == 37


def test_one_cut_before_its_end_is_looked_at_when_it_goes_on() -> None:
    """It was not known then that its test accuracies were compared."""
    journal = MemoryJournal()
    journal.events = list(read_events(OLD))[:-1]
    state = replay(journal.events)
    campaign = Campaign(state.plan, journal, Clock(), state=state)
    campaign.advance()
    assert campaign.done
    assert [(look.seeds, look.alpha) for look in state.looks[STUDY]] == [(2, pytest.approx(0.04))]


def test_one_cut_in_the_middle_is_searched_to_its_end() -> None:
    """By the rules of its own plan: no noise, no widening."""
    events = list(read_events(OLD))
    for keep in range(1, len(events)):
        journal = MemoryJournal()
        journal.events = events[:keep]
        state = replay(journal.events)
        campaign = Campaign(state.plan, journal, Clock(), state=state)
        campaign.resume(host="here", pid=1, version="0")
        for name in tuple(
            state.running
        ):  # driven from their first epoch on, as without a checkpoint
            campaign.fail(name, "it was cut")
        campaign.advance()
        drive(campaign, smooth_curve)
        assert campaign.done
        history = History()
        for event in journal.events:
            history.check(event)
        assert replay(journal.events).looks == state.looks
        assert len(state.looks[STUDY]) == 1


def test_widening_it_keeps_its_configurations_and_spends_what_is_left(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    shutil.copyfile(OLD, path)
    state = replay(read_events(path))
    before = {arm: state.arms[STUDY, arm].choice for arm in ("control", "pc")}
    with FileJournal(path) as journal:
        campaign = Campaign(state.plan, journal, Clock(), state=state)
        campaign.resume(host="here", pid=1, version="0")
        wider = state.plan.model_copy(update={"confirm_seeds": confirm_seeds(0, 4)})
        campaign.extend(wider, "the wider recipe")
        drive(campaign, smooth_curve)
        campaign.end("complete")
    again = replay(read_events(path))
    assert {arm: again.arms[STUDY, arm].choice for arm in before} == before
    assert [(look.seeds, look.alpha) for look in again.looks[STUDY]] == [
        (2, pytest.approx(0.04)), (4, pytest.approx(0.005)),
    ]  # fmt: skip
    line = next(line for line in notes(summarise(again), again) if "were compared" in line)
    assert "compared twice (after 2, 4 seeds)" in line
