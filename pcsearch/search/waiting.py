"""Which trials wait for a node that has room for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from ray.tune.experiment import Trial as RayTrial

LEAST_SECONDS = 10.0
"""A trial that waits for less is being started: a worker takes its seconds. Tune does not tell one
that has a place, and no worker yet, from one that has no place."""


class Waiting:
    """Counts trials that were asked and have no place yet; on a cluster that grows, for minutes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[str, float] = {}

    def look(self, trials: Sequence[RayTrial]) -> int:
        """How many of Tune's trials have waited for `LEAST_SECONDS` by now."""
        now = self._clock()
        pending = [trial.trial_id for trial in trials if trial.status == RayTrial.PENDING]
        self._since = {name: self._since.get(name, now) for name in pending}
        return sum(now - since >= LEAST_SECONDS for since in self._since.values())
