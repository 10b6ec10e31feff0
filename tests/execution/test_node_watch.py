"""What a campaign is told of a cluster's nodes: what they cost, and why none comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import ray

from pcsearch.cluster.session.autoscaler import Launches
from pcsearch.execution import node_watch
from pcsearch.execution.node_watch import NodeWatch
from pcsearch.search.campaign import Campaign
from pcsearch.search.journal.journal_file import MemoryJournal
from tests.search.driving import make_plan

TYPES = {
    "gpu": {"resources": {"CPU": 8, "GPU": 4}},
    "other": {"resources": {"CPU": 2, "GPU": 0}},
}


def node(cpus: float, gpus: float, *, alive: bool = True) -> dict[str, Any]:
    return {"Alive": alive, "Resources": {"CPU": cpus, "GPU": gpus}}


class Cluster:
    """What Ray would answer, and a clock."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.answer: Launches | None = Launches()
        self.asked = 0
        self.now = 100.0
        patch.setattr(ray, "nodes", lambda: self.nodes)
        patch.setattr(node_watch, "launches", self._launches)
        patch.setattr(node_watch, "reason_of", lambda node_type: "no capacity")
        patch.setattr(node_watch.time, "monotonic", lambda: self.now)

    def _launches(self) -> Launches | None:
        self.asked += 1
        return self.answer


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(monkeypatch)


def watch(
    budget: float | None, told: Callable[[str], None] = lambda line: None
) -> tuple[Campaign, NodeWatch]:
    price = None if budget is None else 1.0
    plan = make_plan(budget_cost=budget, price_per_node_hour=price)
    campaign = Campaign(plan, MemoryJournal(), clock=lambda: 0.0)
    nodes = NodeWatch(campaign, 1, 0.5, grows=True, told=told)
    nodes._types = dict(TYPES)
    return campaign, nodes


def test_machines_that_boot_are_paid_for(cluster: Cluster) -> None:
    campaign, nodes = watch(10.0)

    def seen(answer: Launches | None, seconds: float = 2.0) -> tuple[int, float | None]:
        cluster.answer, cluster.now = answer, cluster.now + seconds
        nodes.look(0)
        return campaign.state.nodes, campaign.state.slots_per_node

    cluster.nodes = [node(0, 0)]  # the head
    assert seen(Launches(booting=("gpu", "gpu", "other", "gone"))) == (2, 8.0)
    cluster.nodes.append(node(8, 4))
    assert seen(Launches(booting=("gpu",))) == (2, 8.0)
    assert seen(None) == (2, 8.0), "no answer is no news"
    assert seen(Launches(), seconds=2.0) == (2, 8.0), "and it is not asked again at once"
    assert seen(Launches(), seconds=15.0) == (1, 8.0)
    cluster.nodes.append(node(8, 4, alive=False))
    assert seen(Launches()) == (1, 8.0)


def test_nothing_is_asked_where_nothing_waits_and_nothing_costs(cluster: Cluster) -> None:
    _, nodes = watch(None)
    for _ in range(5):
        cluster.now += 10
        nodes.look(0)
    assert cluster.asked == 0
    nodes.look(3)
    nodes.look(3)
    assert cluster.asked == 1, "every two seconds at most"


def test_a_reason_is_told_once_in_a_while(cluster: Cluster) -> None:
    told: list[str] = []
    _, nodes = watch(None, told.append)
    cluster.answer = Launches(failed=frozenset({"gpu"}))
    for _ in range(100):
        cluster.now += 5
        nodes.look(2)
    assert len(told) == 1
    assert told[0].startswith("no machine of type gpu could be started: no capacity. Trials wait")
    cluster.now += 600
    nodes.look(2)
    assert len(told) == 2
