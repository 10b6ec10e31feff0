"""The outcome of a simulated campaign: time, machines, money, and the trials that ran."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any

from pcsearch.search.state import CampaignState
from pcsearch.simulation.cluster import ClusterModel, SimulatedNode


@dataclass(frozen=True)
class Placement:
    """A trial's time on a node, until the trial ended or the node was lost."""

    trial: str
    node: int
    begin: float
    end: float
    lost: bool = False


@dataclass
class Timeline:
    """Busy slots and existing slots, from each change on; times in seconds."""

    times: array[float] = field(default_factory=lambda: array("d"))
    busy: array[int] = field(default_factory=lambda: array("l"))
    there: array[int] = field(default_factory=lambda: array("l"))

    def note(self, now: float, busy: int, there: int) -> None:
        if self.times and self.times[-1] == now:
            self.busy[-1], self.there[-1] = busy, there
        else:
            self.times.append(now)
            self.busy.append(busy)
            self.there.append(there)

    def means(self, end: float, buckets: int) -> list[tuple[float, float]]:
        """Mean busy and existing slots in each of `buckets` equal parts of the time until `end`."""
        if end <= 0:
            return []
        edges = [*(end * part / buckets for part in range(1, buckets)), end]
        means, bucket, at = [], 0, 0.0
        busy = there = 0.0
        for index in range(len(self.times)):
            stop = min(self.times[index + 1] if index + 1 < len(self.times) else end, end)
            while at < stop:
                upto = min(stop, edges[bucket])
                busy += self.busy[index] * (upto - at)
                there += self.there[index] * (upto - at)
                at = upto
                if at >= edges[bucket]:
                    means.append((busy * buckets / end, there * buckets / end))
                    bucket, busy, there = bucket + 1, 0.0, 0.0
        return means


@dataclass(frozen=True)
class Simulated:
    """A campaign that ran on a virtual clock.

    Attributes:
        state: Its decisions, as for a live campaign.
        cluster: The cluster that it ran on.
        makespan_seconds: From its begin to the end of its last trial.
        busy_seconds: Slot time in which trials were trained or prepared.
        lost_seconds: The part of this time that was lost with nodes.
        nodes: Every node that existed.
        stays: Every trial's time on each node.
        timeline: Slots over time.
        events: Number of epochs, ends and losses.
        decision_seconds: Real processor time of the decisions.
    """

    state: CampaignState
    cluster: ClusterModel
    makespan_seconds: float
    busy_seconds: float
    lost_seconds: float
    nodes: tuple[SimulatedNode, ...]
    stays: tuple[Placement, ...]
    timeline: Timeline
    events: int
    decision_seconds: float

    @property
    def node_seconds(self) -> float:
        """From asking for each node until it stops, even if after the campaign's end."""
        return sum(self._gone(node) - node.asked for node in self.nodes)

    @property
    def tail_seconds(self) -> float:
        """The part of `node_seconds` after the last trial's end, when nodes are idle and still up.

        A budget in money ends with the campaign and does not include it.
        """
        return sum(max(0.0, self._gone(node) - self.makespan_seconds) for node in self.nodes)

    def _gone(self, node: SimulatedNode) -> float:
        """When a node stops; one that never stops is paid for until the campaign's end."""
        model = self.cluster
        if node.gone is not None:
            return node.gone
        if node.number < model.always:
            return self.makespan_seconds
        still_to_come = node.asked + model.start_seconds
        return model.idle_seconds + (still_to_come if node.idle_since is None else node.idle_since)

    @property
    def cost(self) -> float | None:
        return self._cost(self.node_seconds)

    @property
    def tail_cost(self) -> float | None:
        """The part of `cost` after the last trial's end."""
        return self._cost(self.tail_seconds)

    def _cost(self, node_seconds: float) -> float | None:
        price = self.cluster.price
        return None if price is None else price * node_seconds / 3600

    @property
    def gpu_seconds(self) -> float:
        """Time of all GPUs, used or not."""
        return self.node_seconds * self.cluster.gpus_per_node

    @property
    def utilisation(self) -> float:
        """The share of paid slot time in which trials were trained or prepared."""
        paid = self.node_seconds * self.cluster.slots_per_node
        return self.busy_seconds / paid if paid else 0.0

    @property
    def most_nodes(self) -> int:
        changes = sorted(
            [(node.asked, 1) for node in self.nodes]
            + [(node.gone, -1) for node in self.nodes if node.gone is not None]
        )
        here = most = 0
        for _, change in changes:
            here += change
            most = max(most, here)
        return most

    def to_json(self, buckets: int = 60) -> dict[str, Any]:
        """Everything that the user sees, and every trial."""
        stays: dict[str, list[Placement]] = {}
        for stay in self.stays:
            stays.setdefault(stay.trial, []).append(stay)
        return {
            "campaign": self.state.plan.name,
            "makespan_seconds": self.makespan_seconds,
            "node_hours": self.node_seconds / 3600,
            "gpu_hours": self.gpu_seconds / 3600,
            "busy_slot_hours": self.busy_seconds / 3600,
            "lost_slot_hours": self.lost_seconds / 3600,
            "cost": self.cost,
            "tail_node_hours": self.tail_seconds / 3600,
            "tail_cost": self.tail_cost,
            "utilisation": self.utilisation,
            "nodes": {
                "most": self.most_nodes,
                "started": len(self.nodes),
                "lost": sum(node.lost for node in self.nodes),
            },
            "search_closed": self.state.search_closed,
            "timeline": [
                {"busy_slots": busy, "slots": there}
                for busy, there in self.timeline.means(self.makespan_seconds, buckets)
            ],
            "events": self.events,
            "decision_seconds": self.decision_seconds,
            "trials": [
                {
                    "trial": name,
                    "state": trial.state,
                    "epochs": trial.last_epoch,
                    "config": trial.spec.config,
                    "value": trial.last_value,
                    "test": trial.test,
                    "ran": [
                        {"node": s.node, "begin": s.begin, "end": s.end, "lost": s.lost}
                        for s in stays.get(name, [])
                    ],
                }
                for name, trial in self.state.trials.items()
            ],
        }
