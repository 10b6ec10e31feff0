"""For how long workers wait for a next trial.

Of the workers whose trials end at about the same time, Ray Tune keeps one and ends the others, so
that the first trials of each phase wait for Python and PyTorch to start again. The one it keeps, it
keeps to the very end, and reserved with it what a trial takes: its node would be paid for while the
last trials run elsewhere. Here all are kept, on a cluster for some seconds.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator
from typing import Any

try:
    from ray.tune.utils.object_cache import _ObjectCache
except ImportError:  # another version of Ray, which then keeps workers as it always does
    _ObjectCache = object


def keep_workers(wrapped: Any, seconds: float) -> None:
    """Have Tune keep workers for so long; called when its first trial is added, and later.

    These are Tune's insides: where another version has others, it does as it always does.

    Args:
        wrapped: Tune's controller, as a scheduler is given it.
        seconds: For how long each waits.
    """
    controller: Any = getattr(wrapped, "_tune_controller", None)
    cache: Any = getattr(controller, "_actor_cache", None)
    if type(cache) is _ObjectCache and not cache.num_cached_objects:
        controller._actor_cache = _Patient(cache, seconds)


def died_waiting(controller: Any, trial: Any) -> bool:
    """Whether a trial has failed before it began, on a worker that was kept from another one."""
    return trial in getattr(controller, "_resetting_trials", ())


class _Patient(_ObjectCache):  # type: ignore[misc]
    """Takes every worker, and gives back those that have waited for too long."""

    def __init__(self, before: _ObjectCache, seconds: float) -> None:
        super().__init__()
        self._max_num_objects = before._max_num_objects
        self._seconds = seconds
        self._since: dict[int, float] = {}

    def cache_object(self, key: Hashable, obj: Any) -> bool:
        self._cached_objects[key].append(obj)
        self._num_cached_objects += 1
        self._since[id(obj)] = time.monotonic()
        return True

    def flush_cached_objects(self, force_all: bool = False) -> Iterator[Any]:
        now = time.monotonic()
        for objects in list(self._cached_objects.values()):
            for obj in list(objects):
                if force_all or now - self._since[id(obj)] > self._seconds:
                    objects.remove(obj)
                    self._num_cached_objects -= 1
                    yield obj
