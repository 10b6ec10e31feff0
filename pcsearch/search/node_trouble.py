"""Whether a node that lacks something ends the campaign: what passes does not, what stays does."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_SECONDS = 60.0
"""For how long a node may go on to lack something while others train: a mount may be late."""


class NodeTrouble:
    """What the nodes of a cluster have told of late.

    Args:
        clock: Seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._trained = False
        self._told: dict[str, tuple[float, float]] = {}

    def trained(self, node: str) -> None:
        """An epoch has come in from the node."""
        self._trained = True
        self._told.pop(node, None)

    def stays(self, node: str) -> bool:
        """Take note that a trial could not be trained on the node; whether to wait no longer.

        Where none has trained yet, nothing is lost by an end. Later, only a node that tells it
        again and again ends the campaign, for every trial that it is given fails there.
        """
        now = self._clock()
        first, last = self._told.get(node, (now, now))
        if now - last > PATIENCE_SECONDS:
            first = now
        self._told[node] = first, now
        return not self._trained or now - first > PATIENCE_SECONDS
