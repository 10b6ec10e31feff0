"""Changes to Ray Tune: it keeps workers, and forgets ended trials and credentials.

Ray Tune caches at most one idle worker, so each phase would begin by restarting Python and PyTorch.
It keeps that worker, with its CPUs and GPUs, until the end: its node would cost money while the
last trials run elsewhere. We keep all workers (on a cluster, for a few seconds).
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
"""Like `pcsearch.cluster.ray_internals.INTERNALS`, for Ray Tune."""

KEPT_TRIALS = 8
"""Ended trials that Tune keeps: callbacks after a trial's end and the final table use them."""


class NoProgress(TrialProgressCallback):  # type: ignore[misc]
    """Replaces Tune's progress printer, which keeps every trial. Prints nothing."""

    def on_trial_complete(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any
    ) -> None: ...

    def log_result(self, trial: RayTrial, result: dict[str, Any], error: bool = False) -> None: ...


def forget_ended(wrapped: Any) -> None:
    """Drop all ended trials except the last few; the journal has their results.

    Uses Tune's internals: if a version lacks them, Tune keeps all trials.

    Args:
        wrapped: Tune's controller, as passed to a scheduler.
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
except ImportError:  # another version of Ray; its own cache stays
    _ObjectCache = object


def keep_workers(wrapped: Any, seconds: float) -> None:
    """Make Tune keep idle workers. Called whenever a trial is added; only the first call acts.

    Uses Tune's internals: if a version lacks them, its own cache stays.

    Args:
        wrapped: Tune's controller, as passed to a scheduler.
        seconds: How long each worker waits.
    """
    controller: Any = getattr(wrapped, "_tune_controller", None)
    cache: Any = getattr(controller, "_actor_cache", None)
    if type(cache) is _ObjectCache and not cache.num_cached_objects:
        controller._actor_cache = _Patient(cache, seconds)


def died_waiting(controller: Any, trial: Any) -> bool:
    """Whether a trial failed before it started, on a worker kept from an earlier trial."""
    return trial in getattr(controller, "_resetting_trials", ())


class _Patient(_ObjectCache):  # type: ignore[misc]
    """Caches every worker, and releases those that have waited for too long."""

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
    """Run trials in the worker processes that Ray has started in advance; for one machine only.

    Tune reserves a placement group for every trial, and gives its actors their own environment.
    Either makes Ray start new processes, which costs 1.2 s at a campaign's start. One machine needs
    no placement, and processes inherit the driver's environment. Uses Tune's internals: if a
    version lacks them, nothing changes.
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

    Ray stores that environment in its head and logs, where every user of the dashboard sees it.
    Every node has its own credentials. Uses Tune's internals: if a version lacks them, nothing
    changes.
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
