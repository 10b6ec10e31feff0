"""Looks at a cluster's nodes while a campaign runs: what they cost, and why trials wait for one."""

from __future__ import annotations

import time
from collections.abc import Callable

from pcsearch.cluster.capacity import Node
from pcsearch.cluster.launches import NONE, Launches, launches, reason_of
from pcsearch.recipe.show import printable
from pcsearch.search.campaign import Campaign

_LOOK_SECONDS = 2.0
_TELL_AGAIN_SECONDS = 600.0


class NodeWatch:
    """Counts the nodes of the Ray session that a trial fits on; a head without room costs nothing.

    Args:
        campaign: Told of each change, if it pays for its nodes.
        cpus: That a trial takes.
        gpus: That a trial takes.
        grows: Whether nodes may come.
        told: Called with a sentence on each reason for which none comes.
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
        self._looked = float("-inf")

    def look(self, waiting: int) -> None:
        """Called often with the number of trials that wait for a node; does something every two
        seconds, and only where nodes cost or trials wait."""
        now = time.monotonic()
        pays = self._campaign.plan.budget_cost is not None
        if not (pays or (waiting and self._grows)) or now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        coming = launches() if self._grows else NONE
        if pays:
            self._count(coming)
        if waiting:
            self._say_why(coming, now)

    def _count(self, coming: Launches) -> None:
        """Those that boot are paid for, too; they are taken for as large as the others."""
        import ray

        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        nodes = [Node(of.get("CPU", 0.0), of.get("GPU", 0.0)) for of in alive]
        fits = [slots for node in nodes if (slots := node.fits(self._cpus, self._gpus))]
        each = sum(fits) / len(fits) if fits else self._campaign.state.slots_per_node or 1.0
        paid = len(fits) + coming.booting
        self._campaign.machines(paid, round(each * paid))

    def _say_why(self, coming: Launches, now: float) -> None:
        """Once in a while: the autoscaler tries again and again."""
        for node_type in sorted(coming.failed):
            if now - self._told.get(node_type, float("-inf")) >= _TELL_AGAIN_SECONDS:
                self._told[node_type] = now
                reason = printable(reason_of(node_type))
                self._tell(
                    f"no machine of type {node_type} could be started: {reason}; trials wait "
                    "until one can, or until another type has room"
                )
