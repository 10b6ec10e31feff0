"""Make workers import the driver's files, and never the current folder first."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pcsearch

_INSTALLED_IN = ("site-packages", "dist-packages")

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
    An installed pcsearch needs no help, and its folder must not come before Python's own modules.
    """
    parent = Path(pcsearch.__file__).resolve().parent.parent
    before = os.environ.get("PYTHONPATH")
    if parent.name not in _INSTALLED_IN and _first_with_pcsearch(before or "") != parent:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(parent), before)))
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("PYTHONPATH", None)
        else:
            os.environ["PYTHONPATH"] = before


def _first_with_pcsearch(search_path: str) -> Path | None:
    """The folder that Python would import pcsearch from; None if none of these has it."""
    folders = (Path(entry).resolve() for entry in search_path.split(os.pathsep) if entry)
    return next((folder for folder in folders if (folder / "pcsearch").is_dir()), None)
