"""On which node which dataset's images are decoded already, seen from the trials that report."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection

KEPT_SECONDS = 5.0
"""How long a cluster's worker waits for its next trial: longer than a decision, shorter than any
idle timeout; another worker is started in seconds."""


class Warmth:
    """Says what is decoded where a worker has just become free, for the trial it is given next.

    Tune gives a worker that is free the next trial that it asks for, in turn, and ends those that
    have waited for too long.

    Args:
        clock: Seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._decoded: dict[str, set[str]] = {}
        self._free: deque[tuple[str, float]] = deque()

    def trained(self, node: str, dataset: str) -> None:
        """A trial of the dataset has reported from the node."""
        self._decoded.setdefault(node, set()).add(dataset)

    def freed(self, node: str) -> None:
        """A trial has ended on the node, whose worker waits for another one."""
        self._free.append((node, self._clock()))

    def next(self) -> frozenset[str]:
        """The datasets on the node that has waited longest; none where none does."""
        longest_ago = self._clock() - KEPT_SECONDS
        while self._free and self._free[0][1] < longest_ago:
            self._free.popleft()
        return frozenset(self._decoded.get(self._free[0][0], ())) if self._free else frozenset()

    def taken(self) -> None:
        """It was given a trial."""
        if self._free:
            self._free.popleft()


def written(decoded: Collection[str]) -> dict[str, list[str]]:
    """What a question to the campaign went by, as its journal holds it: else none could repeat it.

    Nothing where nothing was decoded, so that such journals are as they always were.
    """
    return {"decoded": sorted(decoded)} if decoded else {}
