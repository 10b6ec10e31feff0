"""On which node which dataset's images are decoded already, seen from the trials that report."""

from __future__ import annotations

from collections import deque


class Warmth:
    """Says what is decoded where a worker has just become free, for the trial it is given next.

    Tune gives a worker that is free the next trial that it asks for, in turn.
    """

    def __init__(self) -> None:
        self._decoded: dict[str, set[str]] = {}
        self._free: deque[str] = deque()

    def trained(self, node: str, dataset: str) -> None:
        """A trial of the dataset has reported from the node."""
        self._decoded.setdefault(node, set()).add(dataset)

    def freed(self, node: str) -> None:
        """A trial has ended on the node, whose worker waits for another one."""
        self._free.append(node)

    def next(self) -> frozenset[str]:
        """The datasets on the node that has waited longest; none where none does."""
        return frozenset(self._decoded.get(self._free[0], ())) if self._free else frozenset()

    def taken(self) -> None:
        """It was given a trial."""
        if self._free:
            self._free.popleft()
