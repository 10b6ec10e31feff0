"""The cluster of a simulated campaign: its limits and its nodes."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ClusterModel:
    """A cluster of equal nodes, which start when trials wait and stop when they are idle.

    Attributes:
        nodes: The most nodes at once.
        slots_per_node: Trials that a node holds at once.
        gpus_per_node: GPUs of a node; 0 if trials train on CPUs.
        always: Nodes that exist from the beginning and never stop.
        start_seconds: From asking for a node until trials can start on it.
        idle_seconds: How long a node without trials is kept.
        losses_per_hour: How often a node is taken away (spot), per hour, in the mean.
        price: Price of a node-hour, from asking for the node until it is gone.
        worker_seconds: Time to start a worker process for the first trial in a slot.
        trial_seconds: Time between two trials in the same slot.
        decode_seconds: Time to decode one image for a node's cache, once per node and dataset.
    """

    nodes: int
    slots_per_node: int
    gpus_per_node: float = 0.0
    always: int = 0
    start_seconds: float = 120.0
    idle_seconds: float = 300.0
    losses_per_hour: float = 0.0
    price: float | None = None
    worker_seconds: float = 8.0
    trial_seconds: float = 0.1
    decode_seconds: float = 0.001

    @property
    def slots(self) -> int:
        return self.nodes * self.slots_per_node


@dataclass
class SimulatedNode:
    """A node, from asking for it until it is gone; times in seconds."""

    number: int
    asked: float
    up: bool = False
    gone: float | None = None
    lost: bool = False
    trials: set[str] = field(default_factory=set)
    workers: int = 0
    """Slots with a started worker process."""
    warm: set[str] = field(default_factory=set)
    """Datasets in its cache."""
    idle_since: float | None = None


class Nodes:
    """All nodes, with an index of those that have a free slot.

    A trial goes to a node with a warm cache if there is one, else to the fullest node. So the other
    nodes become idle and stop.
    """

    def __init__(self, model: ClusterModel, seed: int) -> None:
        self.model = model
        self.all: list[SimulatedNode] = []
        self.here: dict[int, SimulatedNode] = {}
        """Nodes asked for and not gone, by number."""
        self.starting = 0
        self.free = 0
        """Slots without a trial, on nodes that are up."""
        self._open: dict[int, dict[int, SimulatedNode]] = {}
        """Nodes that are up and have a free slot, by their number of trials."""
        self._random = random.Random(seed)

    @property
    def up(self) -> int:
        return len(self.here) - self.starting

    def ask(self, now: float, waiting: int) -> list[SimulatedNode]:
        """Ask for as many nodes as the waiting trials can fill, all at once."""
        missing = math.ceil(waiting / self.model.slots_per_node) - self.starting
        count = max(0, min(missing, self.model.nodes - len(self.here)))
        new = [SimulatedNode(len(self.all) + k, now) for k in range(count)]
        self.all += new
        self.here |= {node.number: node for node in new}
        self.starting += count
        return new

    def lifetime(self) -> float | None:
        """Seconds until a node that is up now is taken away; None for never."""
        rate = self.model.losses_per_hour
        return None if rate <= 0 else self._random.expovariate(rate) * 3600

    def started(self, node: SimulatedNode, now: float) -> None:
        node.up, node.idle_since = True, now
        self.starting -= 1
        self.free += self.model.slots_per_node
        self._file(node)

    def remove(self, node: SimulatedNode, now: float, *, lost: bool) -> None:
        """Remove a node, with the trials on it."""
        self._unfile(node)
        self.free -= self.model.slots_per_node - len(node.trials)
        node.gone, node.lost, node.up = now, lost, False
        del self.here[node.number]

    def place(self, trial: str, dataset: str) -> tuple[SimulatedNode, bool, bool]:
        """A node for a trial; whether a worker must start there, and the cache be built."""
        node = self._choice(dataset)
        self._unfile(node)
        cold, new = dataset not in node.warm, len(node.trials) >= node.workers
        node.trials.add(trial)
        node.warm.add(dataset)
        node.workers += new
        node.idle_since = None
        self.free -= 1
        self._file(node)
        return node, new, cold

    def release(self, node: SimulatedNode, trial: str, now: float) -> None:
        self._unfile(node)
        node.trials.discard(trial)
        self.free += 1
        if not node.trials:
            node.idle_since = now
        self._file(node)

    def _choice(self, dataset: str) -> SimulatedNode:
        fullest = sorted(self._open, reverse=True)
        for held in fullest:
            for node in self._open[held].values():
                if dataset in node.warm:
                    return node
        return next(iter(self._open[fullest[0]].values()))

    def _file(self, node: SimulatedNode) -> None:
        if len(node.trials) < self.model.slots_per_node:
            self._open.setdefault(len(node.trials), {})[node.number] = node

    def _unfile(self, node: SimulatedNode) -> None:
        level = self._open.get(len(node.trials))
        if level is not None:
            level.pop(node.number, None)
            if not level:
                del self._open[len(node.trials)]
