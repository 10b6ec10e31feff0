"""Lets a node go whose worker Ray Tune keeps for a next trial that may be long in coming."""

from __future__ import annotations

import time
from typing import Any

KEPT_SECONDS = 5.0
"""For how long a worker waits for the next trial: longer than a decision, shorter than any idle
timeout. Another one is started in seconds."""


class IdleWorkers:
    """Ends the worker that Tune keeps when nothing has been waiting for it for a while.

    Tune keeps one to the very end, and reserved with it what a trial takes, so that its node would
    be paid for while the last trials run elsewhere. These are Tune's insides: where another version
    has others, the worker stays.
    """

    def __init__(self) -> None:
        self._controller: Any = None
        self._since: float | None = None

    def watch(self, wrapped: Any) -> None:
        """Take note of Tune's controller, as a scheduler is given it."""
        self._controller = getattr(wrapped, "_tune_controller", None)

    def look(self) -> None:
        """Called often."""
        try:
            idle = self._controller._actor_cache.num_cached_objects
            waiting = self._controller._pending_trials
            end_all = self._controller._cleanup_cached_actors
        except AttributeError:
            return
        if not idle or waiting:
            self._since = None
        elif self._since is None:
            self._since = time.monotonic()
        elif time.monotonic() - self._since > KEPT_SECONDS:
            self._since = None
            end_all(force_all=True)
