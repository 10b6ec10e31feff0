"""A campaign on a cluster that grows and shrinks with it, and whose nodes are lost and taken back.

Ray's own autoscaler at work; no node is there beforehand.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import sleeper
from tests.cluster.fake_cluster import FakeCluster, fake_cluster, until
from tests.e2e.cli import epoch_events, overrides, read_journal
from tests.simulation.parity import first_difference

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[FakeCluster]:
    with fake_cluster(workers=2, idle_seconds=3) as started:
        yield started


def start(
    cluster: FakeCluster,
    folder: Path,
    step_seconds: float,
    epochs: int,
    confirm: dict[str, int],
    trials: int = 2,
    **sections: Any,
) -> subprocess.Popen[bytes]:
    """Search trials, two at once, then confirm trials."""
    (folder / "marks").mkdir()
    recipe = sleeper.recipe(
        folder / "marks",
        step_seconds,
        search={"trials": trials, "control": "none"},
        asha={"max_epochs": epochs, "grace_epochs": epochs},
        confirm=confirm,
        **sections,
    )
    return cluster.tune(folder, *overrides(**recipe))


def events_of(folder: Path, kind: str | None = None) -> list[dict[str, Any]]:
    events = read_journal(folder / "run" / "journal.jsonl")
    return [event for event in events if kind in (None, event["event"])]


def check_that_nothing_was_lost(folder: Path, trials: int) -> None:
    """Every trial was asked once, trained to its end, and each of its epochs counted once."""
    events = events_of(folder)
    asked = {e["spec"]["trial"]: e["spec"]["epochs"] for e in events if e["event"] == "asked"}
    assert len(asked) == trials == sum(event["event"] == "asked" for event in events)
    reported = [(e["trial"], e["epoch"]) for e in epoch_events(events)]
    assert sorted(reported) == sorted((t, k + 1) for t, n in asked.items() for k in range(n))
    decisions = Counter(event["decision"] for event in epoch_events(events))
    assert decisions["complete"] == trials
    assert all(event["same"] for event in events if event["event"] == "repeated")
    assert not [event for event in events if event["event"] == "failed"]
    assert events[-1]["event"] == "ended"
    assert events[-1]["status"] == "complete"


def test_nodes_come_at_once_and_go_when_they_are_idle(cluster: FakeCluster, tmp_path: Path) -> None:
    """The budget allows for two search trials of twelve, and for confirm's three."""
    assert not cluster.nodes()
    confirm, budget = {"seeds": 3, "epochs": 9}, {"hours": 0.001}
    with start(
        cluster, tmp_path, 0.1, epochs=1, confirm=confirm, trials=12, budget=budget
    ) as process:
        until(lambda: len(sleeper.begun(tmp_path / "marks")) >= 2 or process.poll() is not None)
        first, second = sleeper.begun(tmp_path / "marks")
        assert first["node"] != second["node"]
        assert len(cluster.nodes()) == 2
        kinds = [event["event"] for event in events_of(tmp_path)]
        assert kinds[:3] == ["campaign", "asked", "asked"]

        until(lambda: len(events_of(tmp_path, "asked")) == 5)  # the last one runs alone
        begun = sleeper.begun(tmp_path / "marks")
        assert {mark["pid"] for mark in begun} == {first["pid"], second["pid"]}
        until(lambda: len(cluster.nodes()) == 1)
        assert process.poll() is None
        assert not events_of(tmp_path, "ended")
    assert len(events_of(tmp_path, "search_closed")) == 1
    assert process.returncode == 0, (tmp_path / "out").read_text()
    check_that_nothing_was_lost(tmp_path, trials=5)
    until(lambda: not cluster.nodes())


def test_a_budget_in_money_ends_the_search_and_pays_for_confirm(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    """It pays for 80 seconds of a node; 60 trials of 1.5 seconds, and the way there, cost more."""
    price = 36.0  # an hour: a hundredth of it a second
    with start(
        cluster,
        tmp_path,
        0.1,
        epochs=1,
        confirm={"seeds": 3, "epochs": 1},
        trials=60,
        budget={"cost": 0.8, "price_per_node_hour": price},
    ) as process:
        process.wait(timeout=200)
    assert process.returncode == 0, (tmp_path / "out").read_text()
    asked = Counter(event["spec"]["phase"] for event in events_of(tmp_path, "asked"))
    assert asked["confirm"] == 3
    assert 1 <= asked["search"] < 60
    assert len(events_of(tmp_path, "search_closed")) == 1
    check_that_nothing_was_lost(tmp_path, trials=asked.total())
    before = [spent(tmp_path, price, until=trial) for trial in range(1, asked["search"])]
    assert max(before, default=0.0) <= 0.8  # every arm's first trial is asked whatever it costs
    assert first_difference(events_of(tmp_path), max_concurrent=2) is None


def spent(folder: Path, price: float, until: int) -> float:
    """What the nodes cost from when each came until search trial `until` (from 0) was asked."""
    seconds = before = 0.0
    nodes = asked = 0
    for event in events_of(folder)[1:]:
        seconds += nodes * (event["t"] - before)
        asked += event["event"] == "asked"
        if asked > until:
            break
        before = event["t"]
        nodes = event["nodes"] if event["event"] == "machines" else nodes
    return seconds * price / 3600


def test_a_node_that_is_lost_and_one_that_is_taken_back(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    with start(cluster, tmp_path, 0.05, epochs=20, confirm={"seeds": 1, "epochs": 1}) as process:
        marks = tmp_path / "marks"
        until(lambda: len({e["trial"] for e in epoch_events(events_of(tmp_path))}) == 2)
        lost, taken = (mark["node"] for mark in sleeper.begun(marks))
        cluster.lose(lost)
        until(lambda: events_of(tmp_path, "retried"))
        cluster.take_back(taken, grace_seconds=2)
        process.wait(timeout=150)
    assert process.returncode == 0, (tmp_path / "out").read_text()
    retried = events_of(tmp_path, "retried")
    assert [event["kind"] for event in retried] == ["node", "node"], retried
    assert len({event["trial"] for event in retried}) == 2
    assert {lost, taken}.isdisjoint(mark["node"] for mark in sleeper.begun(marks)[2:])
    check_that_nothing_was_lost(tmp_path, trials=3)


def test_trials_go_where_their_images_are_decoded(cluster: FakeCluster, tmp_path: Path) -> None:
    """With a budget, two studies take turns. The node of the second one, which is faster, is free
    first, when as many trials were asked of both: it goes on with the images that it has."""
    guide = {"species": 8, "images_per_species": 300, "size": 32}  # 1,440 images; digits has 1,438
    with start(
        cluster,
        tmp_path,
        0.012,
        epochs=1,
        confirm={"seeds": 0, "epochs": 1},
        trials=4,
        slow=8,
        datasets=["fieldguide", "digits"],
        data={"classes": "all", "fieldguide": guide},
        budget={"hours": 1},
    ) as process:
        process.wait(timeout=200)
    assert process.returncode == 0, (tmp_path / "out").read_text()
    check_that_nothing_was_lost(tmp_path, trials=8)
    begun = sleeper.begun(tmp_path / "marks")
    assert Counter(mark["classes"] for mark in begun) == {8: 4, 10: 4}
    by_node: dict[str, list[int]] = {}
    for mark in begun:
        by_node.setdefault(mark["node"], []).append(mark["classes"])
    assert sorted(trained[:2] for trained in by_node.values()) == [[8, 8], [10, 10]]
    events = events_of(tmp_path)
    assert any(event.get("decoded") for event in events), "which the decisions depend on"
    assert first_difference(events, max_concurrent=2) is None, (
        "they can be repeated from the journal"
    )
