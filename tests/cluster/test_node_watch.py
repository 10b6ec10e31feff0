"""What a campaign with a budget in money is told of its nodes."""

from __future__ import annotations

from typing import Any

import pytest
import ray

from pcsearch.cluster import node_watch
from pcsearch.cluster.launches import Launches
from pcsearch.cluster.node_watch import NodeWatch
from pcsearch.search.campaign import Campaign
from pcsearch.search.journal import MemoryJournal
from tests.search.driving import make_plan


def node(cpus: float, gpus: float, *, alive: bool = True) -> dict[str, Any]:
    return {"Alive": alive, "Resources": {"CPU": cpus, "GPU": gpus}}


def test_machines_that_boot_are_paid_for(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(budget_cost=10.0, price_per_node_hour=1.0)
    campaign = Campaign(plan, MemoryJournal(), clock=lambda: 0.0)
    there: list[dict[str, Any]] = [node(0, 0)]  # the head
    coming = [Launches(booting=2)]
    monkeypatch.setattr(ray, "nodes", lambda: there)
    monkeypatch.setattr(node_watch, "launches", lambda: coming[0])

    def seen() -> tuple[int, float | None]:
        NodeWatch(campaign, 1, 0.5, grows=True, told=lambda line: None).look(0)
        return campaign.state.nodes, campaign.state.slots_per_node

    assert seen() == (2, 1.0), "how large they are is not known yet"
    there.append(node(8, 4))
    coming[0] = Launches(booting=1)
    assert seen() == (2, 8.0)
    there.append(node(8, 4, alive=False))
    coming[0] = Launches()
    assert seen() == (1, 8.0)
    there.clear()
    coming[0] = Launches(booting=1)
    assert seen() == (1, 8.0), "as large as those before it"
