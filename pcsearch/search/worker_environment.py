"""What of the driver's environment Ray Tune hands on to workers on other nodes: no credentials."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

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
