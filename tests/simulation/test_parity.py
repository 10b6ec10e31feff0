"""The simulated campaign is the live one: the same decisions, given the same order of events."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from pcsearch.search.journal import MemoryJournal, read_events
from pcsearch.simulation.cluster import ClusterModel
from pcsearch.simulation.curves import Family
from pcsearch.simulation.simulator import simulate
from tests.e2e.cli import CommandLine, overrides
from tests.search.driving import make_plan, study_plan
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
            asha={"max_epochs": 4, "grace_epochs": 1, "reduction_factor": 2},
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
    assert sum(event["event"] == "asked" for event in events) == 2 * (10 + 2 + 2)
    assert any(event["event"] == "machines" for event in events)
    assert first_difference(events, width=2) is None


@pytest.mark.slow
def test_another_measurement_leads_to_another_decision(live: Path) -> None:
    events = copy.deepcopy(list(read_events(live)))
    stopped = next(event for event in events if event.get("decision") == "prune")
    stopped["value"] = 100.0
    difference = first_difference(events, width=2)
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
    done = simulate(plan, model, Family(plan, 0, 5.0), seed=1, journal=journal)
    assert any(node.lost for node in done.nodes)
    assert first_difference(journal.events, width=6) is None
