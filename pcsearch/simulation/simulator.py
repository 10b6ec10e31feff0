"""Drives a campaign on a virtual clock, with the same objects that decide a live one."""

from __future__ import annotations

import heapq
import itertools
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from pcsearch.search.campaign import Campaign, Warmth
from pcsearch.search.journal.journal_file import Event, Journal
from pcsearch.search.plan import Plan, derive_seed
from pcsearch.search.trial import TrialSpec
from pcsearch.simulation.cluster import ClusterModel, Nodes, SimulatedNode
from pcsearch.simulation.curves import JITTER, Curves
from pcsearch.simulation.outcome import Placement, Simulated, Timeline


class NullJournal:
    """A journal that keeps nothing."""

    def append(self, event: Event) -> None:
        """Do nothing."""


@dataclass
class _Training:
    """A trial on a node."""

    spec: TrialSpec
    node: SimulatedNode
    begun: float
    attempt: int
    safe: float
    """When its last epoch ended. Training after that is lost with the node."""


def simulate(
    plan: Plan,
    cluster: ClusterModel,
    curves: Curves,
    *,
    max_concurrent: int | None = None,
    seed: int = 0,
    journal: Journal | None = None,
    progress: Callable[[Campaign, float], None] | None = None,
) -> Simulated:
    """Run a campaign to its end.

    As in a live run, as many trials are asked as may run at once, even without nodes for them. So
    all nodes are asked for at once. A trial whose node is lost continues elsewhere after its last
    epoch.

    Args:
        plan: What to search.
        cluster: The cluster to run on.
        curves: What trials measure, and how long they take.
        max_concurrent: Trials at once; by default as many as the largest cluster holds.
        seed: Seed of the times at which nodes are lost, and of the jitter of epochs.
        journal: Where events are written; by default nowhere.
        progress: Called now and then with the campaign and its virtual seconds.
    """
    return _Run(
        plan, cluster, curves, max_concurrent, seed, journal or NullJournal(), progress
    ).run()


class _Run:
    def __init__(
        self,
        plan: Plan,
        cluster: ClusterModel,
        curves: Curves,
        max_concurrent: int | None,
        seed: int,
        journal: Journal,
        progress: Callable[[Campaign, float], None] | None,
    ) -> None:
        self._now = 0.0
        self._cluster, self._curves, self._progress = cluster, curves, progress
        self._width = (
            cluster.slots if max_concurrent is None else min(max_concurrent, cluster.slots)
        )
        self._campaign = Campaign(
            plan, journal, clock=lambda: self._now, max_concurrent=self._width
        )
        self._nodes = Nodes(cluster, derive_seed(seed, "nodes"))
        self._warmth = Warmth(clock=lambda: self._now)
        self._random = random.Random(derive_seed(seed, "epochs"))
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._waiting: deque[TrialSpec] = deque()
        self._training: dict[str, _Training] = {}
        self._stays: list[Placement] = []
        self._timeline = Timeline()
        self._busy = self._lost = self._decisions = 0.0
        self._events = 0
        self._end = 0.0

    def run(self) -> Simulated:
        self._start_nodes(self._nodes.ask(0.0, self._cluster.always * self._cluster.slots_per_node))
        self._note()
        for node in list(self._nodes.here.values()):
            self._up(node)  # nodes that exist before the campaign
        self._fill()
        self._note()
        while not self._campaign.done:
            self._now, _, happens = heapq.heappop(self._queue)
            happens()
            self._note()
            if self._progress is not None and self._events % 256 == 0:
                self._progress(self._campaign, self._now)
        self._campaign.end("failed" if self._campaign.state.failed_studies() else "complete")
        return Simulated(
            state=self._campaign.state,
            cluster=self._cluster,
            makespan_seconds=self._end,
            busy_seconds=self._busy,
            lost_seconds=self._lost,
            nodes=tuple(self._nodes.all),
            stays=tuple(self._stays),
            timeline=self._timeline,
            events=self._events,
            decision_seconds=self._decisions,
        )

    def _at(self, seconds: float, happens: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self._now + seconds, next(self._numbers), happens))

    def _fill(self) -> None:
        """Ask for trials, place them on free slots, and ask for nodes for the others."""
        began = time.process_time()
        while (spec := self._campaign.next_trial(self._warmth.next())) is not None:
            self._warmth.taken()
            self._waiting.append(spec)
        self._decisions += time.process_time() - began
        while self._waiting and self._nodes.free:
            self._place(self._waiting.popleft())
        self._start_nodes(self._nodes.ask(self._now, len(self._waiting)))

    def _start_nodes(self, new: list[SimulatedNode]) -> None:
        for node in new:
            self._at(self._cluster.start_seconds, lambda node=node: self._up(node))  # type: ignore[misc]

    def _up(self, node: SimulatedNode) -> None:
        if node.up or node.gone is not None:
            return
        self._nodes.started(node, self._now)
        lifetime = self._nodes.lifetime()
        if lifetime is not None:
            self._at(lifetime, lambda: self._taken_away(node))
        self._fill()
        self._watch_idle(node)

    def _place(self, spec: TrialSpec) -> None:
        node, new_worker, cold = self._nodes.place(spec.trial, _dataset(spec))
        model, trial = self._cluster, self._campaign.state.trials[spec.trial]
        training = _Training(spec, node, self._now, trial.attempt, self._now)
        self._training[spec.trial] = training
        ready = model.worker_seconds if new_worker else model.trial_seconds
        if cold:
            images = self._campaign.plan.study(spec.study).images
            ready += model.decode_seconds * (images.train + images.test)
        self._next_epoch(training, ready)

    def _next_epoch(self, training: _Training, ready: float = 0.0) -> None:
        spec = training.spec
        images = self._campaign.plan.study(spec.study).images.of(spec.phase)
        jitter = max(0.5, self._random.gauss(1.0, JITTER))
        seconds = images * self._curves.seconds_per_image(spec.study) * jitter
        self._at(ready + seconds, lambda: self._epoch(training, seconds))

    def _epoch(self, training: _Training, seconds: float) -> None:
        spec = training.spec
        if self._training.get(spec.trial) is not training:
            return  # its node was lost meanwhile
        epoch = self._campaign.state.trials[spec.trial].last_epoch + 1
        measured = self._curves.value(spec, epoch)
        confirm = spec.phase == "confirm"
        test = {self._campaign.plan.metric: measured} if confirm and epoch == spec.epochs else None
        value = None if confirm else measured
        began = time.process_time()
        hits = self._curves.hits(spec) if test is not None else None
        goes_on = self._campaign.report(
            spec.trial, epoch, value, seconds, {}, test, hits=hits, attempt=training.attempt
        )
        self._decisions += time.process_time() - began
        self._events += 1
        training.safe = self._now
        node = f"{training.node.number}"
        self._warmth.trained(node, _dataset(spec))
        if goes_on:
            self._next_epoch(training)
            return
        self._warmth.freed(node)
        self._leave(training)
        self._nodes.release(training.node, spec.trial, self._now)
        self._fill()
        self._watch_idle(training.node)

    def _leave(self, training: _Training, *, lost: bool = False) -> None:
        del self._training[training.spec.trial]
        self._busy += self._now - training.begun
        self._end = self._now
        name, node = training.spec.trial, training.node.number
        self._stays.append(Placement(name, node, training.begun, self._now, lost))

    def _watch_idle(self, node: SimulatedNode) -> None:
        since = node.idle_since
        if since is not None and node.up and node.number >= self._cluster.always:
            self._at(self._cluster.idle_seconds, lambda: self._idle(node, since))

    def _idle(self, node: SimulatedNode, since: float) -> None:
        if node.up and node.idle_since == since:
            self._nodes.remove(node, self._now, lost=False)

    def _taken_away(self, node: SimulatedNode) -> None:
        if node.gone is not None:
            return
        trials = sorted(node.trials)
        for name in trials:
            training = self._training[name]
            self._lost += self._now - training.safe
            self._leave(training, lost=True)
        self._nodes.remove(node, self._now, lost=True)
        for name in trials:
            self._events += 1
            self._campaign.lost(name, "its node was taken away", "node")
        self._fill()

    def _note(self) -> None:
        here = len(self._nodes.here)  # paid for from the moment of asking
        self._campaign.machines(here, here * self._cluster.slots_per_node)
        there = self._nodes.up * self._cluster.slots_per_node
        self._timeline.note(self._now, len(self._training), there)


def _dataset(spec: TrialSpec) -> str:
    return spec.study.partition("/")[0]
