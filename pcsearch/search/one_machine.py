"""Ray Tune on a single machine, without what it does for clusters."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


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
