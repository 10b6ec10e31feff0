"""Finds, lists and creates runs in a folder or in an object store (`s3://bucket/prefix`)."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from pcsearch.errors import UserError
from pcsearch.runs import folder as store
from pcsearch.runs.folder import RunFolder, at, check_space, resume_command

__all__ = [
    "RunFolder",
    "check_free",
    "check_place",
    "find_run",
    "free_names",
    "held",
    "is_taken",
    "list_runs",
    "new_run",
    "resume_command",
]

Runs = str | Path
"""Where runs are stored: a folder, or as text also an address with "://" in it."""


def is_remote(runs: Runs) -> bool:
    """Whether runs are in an object store."""
    return isinstance(runs, str) and "://" in runs


def check_place(runs: Runs) -> None:
    """Check early that a run can be stored there; UserError if not."""
    if is_remote(runs):
        from pcsearch.runs import object_store as remote_runs

        remote_runs.check_place(str(runs))
    else:
        check_space(Path(runs))


def is_taken(runs: Runs, name: str) -> bool:
    """Whether the name is taken."""
    if is_remote(runs):
        from pcsearch.runs import object_store as remote_runs

        return remote_runs.is_taken(str(runs), name)
    return (Path(runs) / name).exists()


def free_names(runs: Runs, stems: Sequence[str]) -> list[str]:
    """Free names such as `quickstart-20261123-141500`; taken ones get a number."""
    names: list[str] = []
    for name in stems:
        stem = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
        numbered = (f"{stem}-{number}" for number in itertools.count(2))
        candidates = itertools.chain([stem], numbered)
        names.append(next(c for c in candidates if c not in names and not is_taken(runs, c)))
    return names


def check_free(runs: Runs, name: str) -> None:
    """Refuse a taken name early, before anything is prepared."""
    if is_remote(runs):
        from pcsearch.runs import object_store as remote_runs

        remote_runs.check_free(str(runs), name)
    else:
        store.check_free(Path(runs), name)


def new_run(
    runs: Runs, name: str, recipe: str, environment: dict[str, Any]
) -> AbstractContextManager[RunFolder]:
    """Create a run and hold its lock; see `folder.new_run`."""
    if is_remote(runs):
        from pcsearch.runs import object_store as remote_runs

        return remote_runs.new_run(str(runs), name, recipe, environment)
    return store.new_run(Path(runs), name, recipe, environment)


def held(run: RunFolder) -> AbstractContextManager[RunFolder]:
    """Hold a run's lock and yield the run to use; UserError if another process runs it."""
    if run.url is not None:  # only these need boto3
        from pcsearch.runs import object_store as remote_runs

        if isinstance(run, remote_runs.RemoteRun):
            return remote_runs.held(run)
    return store.held(run)


def list_runs(runs: Runs) -> list[RunFolder]:
    """Every campaign, newest first."""
    if is_remote(runs):
        from pcsearch.runs import object_store as remote_runs

        return remote_runs.list_runs(str(runs))
    return store.list_runs(Path(runs))


def find_run(run: str | None, runs: Runs, *, begun: bool = True) -> RunFolder:
    """A run by its folder, address or name; the newest if none is named.

    `begun=False` also finds a named run whose driver died before the journal's first line.
    """
    if run is None and is_remote(runs):
        known = list_runs(runs)
        if not known:
            raise UserError(
                f'there are no runs under "{runs}"; start one with '
                f"`pcsearch tune quickstart{at(runs)}`"
            )
        return known[0]
    if run is None or not (is_remote(run) or is_remote(runs)):
        return store.find_run(run, Path(runs), begun=begun)
    from pcsearch.runs import object_store as remote_runs

    address = run if is_remote(run) else f"{str(runs).rstrip('/')}/{run}"
    found = remote_runs.find_run(address, begun=begun)
    if found is None:
        where, _, name = address.rstrip("/").rpartition("/")
        raise remote_runs.no_such_run(name, where)
    return found
