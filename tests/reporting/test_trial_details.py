"""A trial's rungs and times, recomputed from the journal's events."""

from __future__ import annotations

from typing import Any

import pytest

from pcsearch.reporting.trial_details import Rung, TrialDetails, trial_details
from pcsearch.search.journal.events import Event
from tests.search.driving import Clock, drive, make_plan, study_plan
from tests.search.journals import measured

EVENTS = measured()
TRIALS = [event["spec"]["trial"] for event in EVENTS if event["event"] == "asked"]


def of(name: str, events: list[Event] = EVENTS) -> TrialDetails:
    return trial_details(events, name)


@pytest.mark.parametrize("name", TRIALS)
def test_rungs_against_the_values_reported_before(name: str) -> None:
    spec = next(e["spec"] for e in EVENTS if e["event"] == "asked" and e["spec"]["trial"] == name)
    arm = name.rpartition("/")[0]
    plan = EVENTS[0]["plan"]
    levels = [plan["grace_epochs"] * plan["reduction_factor"] ** i for i in range(5)]
    expected = []
    for number, event in enumerate(EVENTS):
        if event.get("trial") != name or event["event"] != "epoch":
            continue
        epoch = event["epoch"]
        if spec["phase"] != "search" or epoch not in levels or epoch >= plan["max_epochs"]:
            continue
        before = [
            e["value"]
            for e in EVENTS[:number]
            if e["event"] == "epoch"
            and e["epoch"] == epoch
            and e["trial"].startswith(f"{arm}/search-")
        ]
        places = max(1, (len(before) + 1) // plan["reduction_factor"])
        best = sorted(before, reverse=True)
        expected.append(
            Rung(
                epoch,
                event["value"],
                event["decision"] != "prune",
                len(before) + 1,
                sum(value > event["value"] for value in before),
                places,
                best[places - 1] if len(best) >= places else None,
            )
        )
    assert list(of(name).rungs) == expected


def test_a_stopped_trial_is_below_the_limit() -> None:
    stopped = [one.rungs[-1] for one in map(of, TRIALS) if one.trial.state == "PRUNED"]
    assert stopped
    for rung in stopped:
        assert not rung.continued
        assert rung.cut is not None
        assert rung.value < rung.cut
        assert rung.larger >= rung.places


def test_times_and_restarts() -> None:
    asked = {e["spec"]["trial"]: e["t"] for e in EVENTS if e["event"] == "asked"}
    last: dict[str, Any] = {e["trial"]: e["t"] for e in EVENTS if "trial" in e}
    resumed = next(n for n, e in enumerate(EVENTS) if e["event"] == "resumed")
    for name in TRIALS:
        found = of(name)
        assert (found.asked_seconds, found.ended_seconds) == (asked[name], last[name])
        begun = any(e.get("spec", {}).get("trial") == name for e in EVENTS[:resumed])
        ended = not any(e.get("trial") == name for e in EVENTS[resumed:])
        restarts = ["the campaign was resumed"] if begun and not ended else []
        assert list(found.restarts) == restarts


def test_a_running_trial_has_no_end() -> None:
    number = next(n for n, e in enumerate(EVENTS) if e["event"] == "epoch")
    found = of(EVENTS[number]["trial"], EVENTS[: number + 1])
    assert (found.ended_seconds, len(found.trial.epochs)) == (None, 1)
    assert found.to_json()["metrics"][0]["epoch"] == 1


def test_reasons_of_restarts_are_kept() -> None:
    from pcsearch.search.campaign import Campaign
    from pcsearch.search.journal.journal_file import MemoryJournal

    journal = MemoryJournal()
    campaign = Campaign(make_plan(studies=(study_plan(),)), journal, Clock())
    spec = campaign.next_trial()
    assert spec is not None
    campaign.lost(spec.trial, "its worker died", "worker")
    drive(campaign)
    assert of(spec.trial, journal.events).restarts == ("its worker died",)
