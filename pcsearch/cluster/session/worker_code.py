"""Make workers import the driver's files, and never the current folder first."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pcsearch

if TYPE_CHECKING:
    from ray.job_config import JobConfig


def job_config(metadata: Mapping[str, str] | None = None) -> JobConfig:
    """A job whose workers do not search the driver's current folder.

    Ray puts that folder and the script's folder first in every worker's `sys.path`, where a
    `torch.py` would replace PyTorch. It omits them for a job with a working directory.
    """
    from ray.job_config import JobConfig

    class WithoutCurrentFolder(JobConfig):  # type: ignore[misc]
        def _runtime_env_has_working_dir(self) -> bool:
            return True

    return WithoutCurrentFolder(metadata=dict(metadata or {}))


@contextlib.contextmanager
def driver_code() -> Iterator[None]:
    """Make workers that start in this context import this pcsearch, also if it is not installed.

    `python -m pcsearch` in a checkout imports it from there; workers would import an installed one.
    """
    parent = str(Path(pcsearch.__file__).resolve().parent.parent)
    before = os.environ.get("PYTHONPATH")
    if sys.path and os.path.realpath(sys.path[0]) == parent and parent not in sys.path[1:]:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (parent, before)))
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("PYTHONPATH", None)
        else:
            os.environ["PYTHONPATH"] = before
