"""The simulated campaign is the live one: the same decisions, given the same order of events."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from random import Random

import pytest

from pcsearch.search.campaign import Campaign
from pcsearch.search.journal.events import check_event
from pcsearch.search.journal.journal_file import MemoryJournal, read_events
from pcsearch.search.journal.validate import History
from pcsearch.search.plan import Plan
from pcsearch.search.state import replay
from pcsearch.search.trial import TrialSpec
from pcsearch.simulation.cluster import ClusterModel
from pcsearch.simulation.curves import SyntheticCurves
from pcsearch.simulation.outcome import Simulated
from pcsearch.simulation.simulator import simulate
from tests.e2e.cli import CommandLine, overrides
from tests.search.driving import Clock, drive, make_plan, study_plan
from tests.simulation.parity import first_difference


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The journal of a real campaign on Ray, two trials at a time, TPE, finalists, a budget."""
    folder = tmp_path_factory.mktemp("parity")
    command = CommandLine(folder, folder / "cache")
    result = command.run(
        "tune",
        "quickstart",
        "--name=run",
        *overrides(
            search={"trials": 10, "sampler": "tpe", "startup_trials": 3},
            asha={
                "max_epochs": 4,
                "grace_epochs": 1,
                "reduction_factor": 2,
                "full_trainings": 1,
            },
            finalists={"configs": 2, "repeats": 1},
            confirm={"seeds": 2},
            budget={"cost": 1000, "price_per_node_hour": 1},
            resources={"max_concurrent": 2},
        ),
        "data.classes=[1, 7, 8]",
        "datasets=[digits]",
    )
    assert result.code == 0, result
    return folder / "runs/run/journal.jsonl"


@pytest.mark.slow
def test_a_live_campaigns_decisions_are_repeated(live: Path) -> None:
    events = list(read_events(live))
    phases = Counter(e["spec"]["phase"] for e in events if e["event"] == "asked")
    assert (phases["search"], phases["confirm"]) == (2 * 10, 2 * 2)
    assert 2 * 2 <= phases["finalists"] <= 2 * 4, "both arms' best; twice the same counts once"
    assert sum(event["event"] == "looked" for event in events) == 1
    assert any(event["event"] == "machines" for event in events)
    assert first_difference(events, max_concurrent=2) is None


@pytest.mark.slow
def test_another_measurement_leads_to_another_decision(live: Path) -> None:
    events = copy.deepcopy(list(read_events(live)))
    stopped = next(event for event in events if event.get("decision") == "prune")
    stopped["value"] = 100.0
    difference = first_difference(events, max_concurrent=2)
    assert difference is not None
    assert "prune, but is now epoch" in difference


@pytest.mark.parametrize("studies", [("digits",), ("digits", "fieldguide", "birds")])
def test_a_simulated_campaigns_decisions_are_repeated(studies: tuple[str, ...]) -> None:
    """Of several studies, whose is next depends on what their epochs took."""
    journal = MemoryJournal()
    plan = make_plan(
        studies=tuple(map(study_plan, studies)), finalist_configs=2, finalist_repeats=1
    )
    model = ClusterModel(nodes=2, slots_per_node=3, losses_per_hour=20.0)
    done = simulate(plan, model, SyntheticCurves(plan, 0, 5.0), seed=1, journal=journal)
    assert any(node.lost for node in done.nodes)
    assert first_difference(journal.events, max_concurrent=6) is None


class Somewhere(Campaign):
    """A campaign whose free places have now these images decoded, now those."""

    random = Random(0)

    def next_trial(self, decoded: Collection[str] = frozenset()) -> TrialSpec | None:
        there = [name for name in ("birds", "digits") if self.random.random() < 0.6]
        return super().next_trial(there)


def taking_turns(**changes: object) -> Plan:
    """Two studies of equal length that take turns, for a budget may end their search."""
    studies = (study_plan("digits"), study_plan("birds"))
    return make_plan(studies=studies, finalist_configs=2, finalist_repeats=1, **changes)


@pytest.mark.parametrize("seconds", [25.0, 1e6])
def test_what_was_decoded_where_is_written_down_and_repeated(seconds: float) -> None:
    journal = MemoryJournal()
    drive(
        Somewhere(taking_turns(budget_seconds=seconds), journal, Clock(), max_concurrent=4),
        order_seed=1,
    )
    history = History()
    for event in journal.events:
        history.check(check_event(event))
    asked = [event for event in journal.events if event["event"] == "asked"]
    assert {tuple(event.get("decoded", ())) for event in asked} == {
        (), ("birds",), ("digits",), ("birds", "digits"),
    }  # fmt: skip
    assert first_difference(journal.events, max_concurrent=4) is None
    forgotten = [{k: v for k, v in e.items() if k != "decoded"} for e in journal.events]
    assert first_difference(forgotten, max_concurrent=4) is not None


def test_a_campaign_goes_on_from_a_journal_that_tells_what_was_decoded() -> None:
    journal, plan, clock = MemoryJournal(), taking_turns(), Clock()
    campaign = Somewhere(plan, journal, clock, max_concurrent=4)
    drive(campaign, most_epochs=40)
    again = replay(journal.events)
    assert again.trials == campaign.state.trials
    resumed = Somewhere(plan, journal, clock, max_concurrent=4, state=again)
    resumed.resume(host="here", pid=1, version="1.0")
    drive(resumed)
    assert resumed.done


def test_one_trial_at_a_time_nothing_is_written_of_what_was_decoded() -> None:
    journal = MemoryJournal()
    drive(Somewhere(taking_turns(), journal, Clock(), max_concurrent=1))
    assert not [event for event in journal.events if "decoded" in event]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_simulated_nodes_are_given_trials_whose_images_they_have(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    plan = taking_turns(budget_seconds=1e6, seed=seed)
    model, journal = ClusterModel(nodes=12, slots_per_node=1), MemoryJournal()
    warm = simulate(plan, model, SyntheticCurves(plan, 0, 5.0), journal=journal)
    assert any(event.get("decoded") for event in journal.events)
    assert first_difference(journal.events, max_concurrent=12) is None
    monkeypatch.setattr("pcsearch.search.campaign.Warmth.next", lambda self: frozenset())
    blind = simulate(plan, model, SyntheticCurves(plan, 0, 5.0))
    assert _decoded(warm) < 0.85 * _decoded(blind)


def _decoded(done: Simulated) -> int:
    """How often a node met a dataset for the first time."""
    return len({(stay.node, stay.trial.partition("/")[0]) for stay in done.stays})
