"""What Ray Tune does otherwise here: workers are kept, ended trials and credentials are not.

Of the workers whose trials end at about the same time, Ray Tune keeps one and ends the others, so
that the first trials of each phase wait for Python and PyTorch to start again. The one it keeps, it
keeps to the very end, and reserved with it what a trial takes: its node would be paid for while the
last trials run elsewhere. Here all are kept, on a cluster for some seconds.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Hashable, Iterator
from typing import Any

from ray.tune.experiment import Trial as RayTrial
from ray.tune.progress_reporter import TrialProgressCallback

from pcsearch.cluster.ray_internals import Internal

INTERNALS = (
    Internal("ray.tune.utils.object_cache", "_ObjectCache", "keeping workers", "they start again"),
    Internal("ray.tune.execution.class_cache", "DEFAULT_ENV_VARS", "a quick start", "1.2 s more"),
    Internal("ray.tune.execution.class_cache", "ENV_VARS_TO_PROPAGATE", "no AWS keys", "they show"),
    Internal(
        "ray.tune.execution.tune_controller",
        "PlacementGroupResourceManager",
        "a quick start",
        "1.2 s more",
    ),
    Internal(
        "ray.air.execution.resources.fixed", "FixedResourceManager", "a quick start", "1.2 s more"
    ),
    Internal("ray.tune.progress_reporter", "TrialProgressCallback", "no progress", "no start"),
)
"""As `pcsearch.cluster.ray_internals.INTERNALS`, of Ray Tune."""

KEPT_TRIALS = 8
"""Ended trials that Tune may still hear of: what follows a trial's end, and the closing table."""


class NoProgress(TrialProgressCallback):  # type: ignore[misc]
    """Stands in for what Tune prints progress with, which keeps every trial; prints nothing."""

    def on_trial_complete(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any
    ) -> None: ...

    def log_result(self, trial: RayTrial, result: dict[str, Any], error: bool = False) -> None: ...


def forget_ended(wrapped: Any) -> None:
    """Drop all ended trials but the last few.

    The journal has what they measured. These are Tune's insides: where another version has others,
    everything is kept.

    Args:
        wrapped: Tune's controller, as a scheduler is given it.
    """
    controller: Any = getattr(wrapped, "_tune_controller", None)
    try:
        trials = controller.get_trials()
        metadata = controller._trial_metadata
        groups = (
            controller._stopped_trials,
            controller._failed_trials,
            controller._trials_to_cache,
        )
    except AttributeError:
        return
    ended = [trial for trial in trials if trial.is_finished()][:-KEPT_TRIALS]
    for trial in ended:
        trials.remove(trial)
        metadata.pop(trial.trial_id, None)
        for group in groups:
            group.discard(trial)


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


@contextlib.contextmanager
def ready_workers() -> Iterator[None]:
    """Run trials in the worker processes that Ray has ready, where it has one machine only.

    Tune reserves a placement group for every trial and gives its actors an environment of their
    own. Either makes Ray pass over the processes that it started beforehand and start others, which
    is 1.2 s of a campaign's start. On one machine nothing has to be placed, and processes inherit
    the driver's environment. These are Tune's insides: where another version has others, everything
    is left as it is.
    """
    try:
        from ray.air.execution.resources.fixed import FixedResourceManager
        from ray.tune.execution import class_cache, tune_controller

        whole = (
            tune_controller.PlacementGroupResourceManager,
            class_cache.DEFAULT_ENV_VARS,
            class_cache.ENV_VARS_TO_PROPAGATE,
        )
    except (ImportError, AttributeError):
        yield
        return
    tune_controller.PlacementGroupResourceManager = FixedResourceManager
    class_cache.DEFAULT_ENV_VARS = {}
    class_cache.ENV_VARS_TO_PROPAGATE = set()
    try:
        yield
    finally:
        (
            tune_controller.PlacementGroupResourceManager,
            class_cache.DEFAULT_ENV_VARS,
            class_cache.ENV_VARS_TO_PROPAGATE,
        ) = whole


_SECRET = ("AWS_",)


@contextlib.contextmanager
def without_credentials() -> Iterator[None]:
    """Keep Tune from writing AWS keys into each worker's runtime environment.

    Ray keeps that environment in its head and logs, open to whoever sees the dashboard. Every node
    has credentials of its own. These are Tune's insides: another version may have others.
    """
    try:
        from ray.tune.execution import class_cache

        whole = class_cache.ENV_VARS_TO_PROPAGATE
    except (ImportError, AttributeError):
        yield
        return
    class_cache.ENV_VARS_TO_PROPAGATE = {n for n in whole if not n.startswith(_SECRET)}
    try:
        yield
    finally:
        class_cache.ENV_VARS_TO_PROPAGATE = whole
