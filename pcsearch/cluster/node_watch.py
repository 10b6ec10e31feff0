"""Tells a campaign that pays for its nodes how many there are."""

from __future__ import annotations

import time

from pcsearch.cluster.capacity import Node
from pcsearch.search.campaign import Campaign

_LOOK_SECONDS = 2.0


class NodeWatch:
    """Counts the nodes of the Ray session that a trial fits on; a head without room costs nothing.

    Args:
        campaign: Told of each change.
        cpus: That a trial takes.
        gpus: That a trial takes.
    """

    def __init__(self, campaign: Campaign, cpus: float, gpus: float) -> None:
        self._campaign = campaign
        self._cpus, self._gpus = cpus, gpus
        self._looked = float("-inf")

    def look(self) -> None:
        """Called often; does something every two seconds, and only where there is such a budget."""
        now = time.monotonic()
        if self._campaign.plan.budget_cost is None or now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        import ray

        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        nodes = [Node(of.get("CPU", 0.0), of.get("GPU", 0.0)) for of in alive]
        fits = [slots for node in nodes if (slots := node.fits(self._cpus, self._gpus))]
        self._campaign.machines(len(fits), sum(fits))
