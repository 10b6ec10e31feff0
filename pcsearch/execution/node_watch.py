"""The nodes of a cluster: requested early, and counted while a campaign runs."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from pcsearch.cluster.files.cluster_file import node_of
from pcsearch.cluster.session.autoscaler import Launches, launches, reason_of, running_config
from pcsearch.cluster.session.capacity import Capacity, Node, size_trials
from pcsearch.printable import printable
from pcsearch.recipe.schema import Recipe
from pcsearch.search.campaign import Campaign

_HELD_SECONDS = 300.0
"""Limit while images are decoded: nodes cost money while they wait."""


@contextlib.contextmanager
def early_nodes(recipe: Recipe, capacity: Capacity) -> Iterator[None]:
    """Reserve room for a recipe's first trials, so that an autoscaler starts nodes for them.

    Reserves only where the cluster can grow, and at most what the search starts with. The end
    frees the room for the trials, after `_HELD_SECONDS` at the latest. Ray frees it if this process
    dies. The new nodes then wait for trials until their idle timeout.

    Raises:
        UserError: no trial of the recipe fits on any node.
    """
    sizing = size_trials(recipe.resources, capacity)
    from ray.util.placement_group import placement_group, remove_placement_group

    held = []
    if capacity.addable and capacity.most_added:
        bundle = {"CPU": sizing.cpus_per_trial}
        bundle |= {"GPU": sizing.gpus_per_trial} if sizing.gpus_per_trial else {}
        studies = len(recipe.datasets) * len(recipe.backbones)
        trials = studies * len(recipe.search.arms) * recipe.search.trials
        held = [placement_group([bundle]) for _ in range(min(sizing.max_concurrent, trials))]

    def give_back() -> None:
        while held:
            remove_placement_group(held.pop())

    at_the_latest = threading.Timer(_HELD_SECONDS, give_back)
    at_the_latest.daemon = True
    at_the_latest.start()
    try:
        yield
    finally:
        at_the_latest.cancel()
        give_back()


_LOOK_SECONDS = 2.0
_NO_ANSWER_SECONDS = 15.0
_TELL_AGAIN_SECONDS = 600.0


class NodeWatch:
    """Counts the nodes of the Ray session that have room for a trial. Others cost nothing.

    Args:
        campaign: Receives each change, if it pays for its nodes.
        cpus: CPUs per trial.
        gpus: GPUs per trial.
        grows: Whether the cluster may add nodes.
        told: Called with a sentence on each reason why no node is added.
    """

    def __init__(
        self,
        campaign: Campaign,
        cpus: float,
        gpus: float,
        *,
        grows: bool,
        told: Callable[[str], None],
    ) -> None:
        self._campaign = campaign
        self._cpus, self._gpus = cpus, gpus
        self._grows = grows
        self._tell = told
        self._told: dict[str, float] = {}
        self._coming = Launches()
        self._types: dict[str, Any] | None = None
        self._next = float("-inf")

    def look(self, waiting: int) -> None:
        """Take the number of trials that wait for a node. Acts at most every two seconds, and only
        if nodes cost money or trials wait."""
        pays = self._campaign.plan.budget_cost is not None
        if not (pays or (waiting and self._grows)) or time.monotonic() < self._next:
            return
        if self._grows:
            coming = launches()
            self._coming = coming or self._coming  # without an answer, the last one holds
            pause = _LOOK_SECONDS if coming else _NO_ANSWER_SECONDS
        else:
            pause = _LOOK_SECONDS
        if pays:
            self._count()
        if waiting:
            self._say_why()
        self._next = time.monotonic() + pause

    def _count(self) -> None:
        """Count nodes with room for a trial, also those that boot: they cost the same."""
        import ray

        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        nodes = [Node(of.get("CPU", 0.0), of.get("GPU", 0.0)) for of in alive]
        nodes += [self._size(node_type) for node_type in self._coming.booting]
        fits = [slots for node in nodes if (slots := node.max_trials(self._cpus, self._gpus))]
        self._campaign.machines(len(fits), sum(fits))

    def _size(self, node_type: str) -> Node:
        """CPUs and GPUs of a node type, from the file of the cluster's autoscaler."""
        if self._types is None:
            import ray

            config = running_config(ray.get_runtime_context().gcs_address)
            self._types = dict(config.get("available_node_types") or {})
        return node_of(self._types.get(node_type) or {})

    def _say_why(self) -> None:
        """Report each failed type every ten minutes, since the autoscaler retries often."""
        now = time.monotonic()
        for node_type in sorted(self._coming.failed):
            if now - self._told.get(node_type, float("-inf")) >= _TELL_AGAIN_SECONDS:
                self._told[node_type] = now
                reason = printable(reason_of(node_type))
                self._tell(
                    f"no machine of type {node_type} could be started: {reason}. Trials wait until "
                    "one starts, or another type has room. To change the file: cluster stop, edit "
                    "it, cluster up, cluster submit --resume"
                )
