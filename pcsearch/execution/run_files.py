"""A trial's access to the files of its run: in folders that all nodes share, or in a bucket."""

from __future__ import annotations

import atexit
import errno
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from pcsearch.errors import NodeError, PcsearchError, TrialError, UserError
from pcsearch.execution.worker import describe
from pcsearch.execution.worker_data import WorkerContext
from pcsearch.search.trial import (
    PREDICTIONS,
    checkpoint_folder,
    predictions_name,
    stop_marker,
)
from pcsearch.storage import Storage, StorageError, open_storage, without_colons
from pcsearch.storage.retry import Patience
from pcsearch.storage.scratch import SCRATCH, scratch_folder
from pcsearch.training.checkpoints import Checkpoints
from pcsearch.training.failures import breaks_the_process

STOP_MARKER = "checkpoints/stopping"

NEEDED = Patience(total_seconds=120.0, unmet_seconds=60.0)
"""Patience with a silent store where the trial cannot continue without it."""

_PASSING = Patience(total_seconds=8.0, unmet_seconds=8.0, longest_wait_seconds=2.0)
"""Patience where the trial can continue: the next due checkpoint is a new attempt."""

LONGEST_SECONDS = 120.0
"""Longest time between two checkpoints. Training waits while a large one is uploaded."""

_ASK_EVERY_SECONDS = 1.0
_ASK_AGAIN_AFTER_ERROR_SECONDS = 20.0


@lru_cache(maxsize=4)
def stored_files(url: str, cache: str) -> StoredFiles:
    """The files of the run at an address, one instance per process."""
    open_while_process_lives = ExitStack()
    folder = open_while_process_lives.enter_context(scratch_folder(Path(cache) / SCRATCH))
    atexit.register(open_while_process_lives.close)
    files = StoredFiles(url, folder)
    files.try_to_write()
    return files


class StoredFiles:
    """`RunFiles` in a bucket.

    Args:
        url: The run's address.
        folder: This process's own folder for copies.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self._needed = open_storage(url, NEEDED)
        self._passing = open_storage(url, _PASSING)
        self._folder = folder
        self._fetched = False
        self._asked_to_stop = _StopAsked(self._passing)

    def try_to_write(self) -> None:
        """Check that this node may write to the store, before it trains.

        Raises:
            UserError: it may not, or has no credentials.
            StorageError: the store does not answer.
        """
        name = f"checkpoints/written-by/{uuid.uuid4().hex}"
        self._needed.write(name, b"")
        self._needed.remove(name)

    @property
    def data(self) -> str:
        """The folder of the files with labels, downloaded at the first use.

        Raises:
            StorageError: the store does not answer.
        """
        folder = self._folder / "data"
        if not self._fetched:
            for name in self._needed.list("data"):
                self._needed.download(name, self._folder / name)
            self._fetched = True
        return str(folder)

    def checkpoints(self, trial: str, attempt: int) -> Checkpoints:
        name = f"checkpoints/{without_colons(checkpoint_folder(trial))}"
        return Checkpoints(
            self._folder / name,
            attempt,
            stopping=self._asked_to_stop,
            longest_seconds=LONGEST_SECONDS,
            origin=_StoredCheckpoints(name, self._needed, self._passing),
        )

    def weights(self, file: str) -> Path:
        return self._folder / "weights" / file

    def predictions(self, trial: str) -> Path:
        return self._folder / PREDICTIONS / predictions_name(trial)

    def kept(self, path: Path) -> None:
        """Upload weights or predictions.

        Raises:
            StorageError: the store does not answer, so the trial must be restarted.
        """
        self._needed.upload(f"{path.parent.name}/{without_colons(path.name)}", path)
        path.unlink(missing_ok=True)

    def done(self, trial: str) -> None:
        folder = self._folder / "checkpoints" / without_colons(checkpoint_folder(trial))
        shutil.rmtree(folder, ignore_errors=True)


class _StoredCheckpoints:
    """A trial's checkpoints in the store; see `Origin`."""

    def __init__(self, folder: str, needed: Storage, passing: Storage) -> None:
        self._folder = folder
        self._needed = needed
        self._passing = passing

    def names(self) -> Sequence[str]:
        return [Path(name).name for name in self._needed.list(self._folder)]

    def fetch(self, path: Path) -> None:
        self._needed.download(f"{self._folder}/{path.name}", path)

    def store(self, path: Path) -> None:
        try:
            self._passing.upload(f"{self._folder}/{path.name}", path)
        except (PcsearchError, OSError) as error:
            raise TrialError(f"cannot store the checkpoint {path.name}: {error}") from error

    def remove(self, name: str) -> None:
        self._passing.remove(f"{self._folder}/{name}")


class _StopAsked:
    """Whether the campaign stops. Asks the store at most once a second."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._next = 0.0
        self._said = False

    def __call__(self) -> bool:
        if time.monotonic() < self._next:
            return self._said
        wait = _ASK_EVERY_SECONDS
        try:
            self._said = self._storage.exists(STOP_MARKER)
        except PcsearchError:
            self._said, wait = False, _ASK_AGAIN_AFTER_ERROR_SECONDS
        self._next = time.monotonic() + wait
        return self._said


class RunFiles(Protocol):
    """What a trial reads from its run, and writes to it."""

    @property
    def data(self) -> str:
        """Folder of the files with labels."""
        ...

    def checkpoints(self, trial: str, attempt: int) -> Checkpoints:
        """A trial's checkpoints. Call `done` afterwards."""
        ...

    def weights(self, file: str) -> Path:
        """Where to write weights. Call `kept` afterwards."""
        ...

    def predictions(self, trial: str) -> Path:
        """Where to write a trial's predictions. Call `kept` afterwards."""
        ...

    def kept(self, path: Path) -> None:
        """Add the written file to the run."""
        ...

    def done(self, trial: str) -> None:
        """Free what this node holds for a trial."""
        ...


class UnwritableError(OSError):
    """A worker cannot write a file that the run keeps, for example on a full disk.

    No trial is to blame, so the campaign ends, as if the driver could not write. It can be resumed
    once there is room.
    """


def why_unwritten(error: Exception, path: Path, context: WorkerContext, attempt: int) -> str:
    """Why a file could not be written of a trial whose images are measured, which must count.

    Only a full disk ends the campaign, and a silent store restarts the trial once: a resume or
    restart can write the file.

    Args:
        error: What writing raised.
        path: The file.
        context: The trial's.
        attempt: Number of earlier starts of the trial.

    Raises:
        UnwritableError: the disk is full.
        Exception: `error`, if the trial must be restarted.
    """
    if breaks_the_process(error) or (isinstance(error, StorageError) and not attempt):
        raise error
    code = error.errno if isinstance(error, OSError) else None
    if code in (errno.ENOSPC, errno.EDQUOT) and context.remote is None:
        raise UnwritableError(code, os.strerror(code), str(path)) from error
    return describe(error)


def run_files(context: WorkerContext) -> RunFiles:
    """The files of the context's run.

    Raises:
        NodeError: this node does not see the run, or cannot write to it.
    """
    if context.remote is not None:
        try:
            files = stored_files(context.remote, context.cache)
            _ = files.data  # download now, so that missing read access is this node's error
            return files
        except UserError as error:
            raise NodeError(f"this node cannot use the store of the run: {error}") from error
    _look_at(Path(context.checkpoints))
    return SharedFiles(context)


@lru_cache(maxsize=8)
def _look_at(folder: Path) -> None:
    """Check, once per process, that checkpoints can be written to a folder."""
    share = "with several nodes, keep the runs on storage that all of them share, with --runs"
    try:
        if not folder.is_dir():
            raise NodeError(f"this node does not see the run folder {folder.parent}; {share}")
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return  # space may be freed; checkpoints are retried
        raise NodeError(
            f"this node cannot write into the run folder {folder.parent} ({error.strerror}); fix "
            f"its permissions there, or, {share}"
        ) from error


class SharedFiles:
    """`RunFiles` in folders that the driver and every worker see under the same path."""

    def __init__(self, context: WorkerContext) -> None:
        self.data = context.data
        self._checkpoints = Path(context.checkpoints)
        self._weights = Path(context.weights)

    def checkpoints(self, trial: str, attempt: int) -> Checkpoints:
        folder = self._checkpoints / checkpoint_folder(trial)
        return Checkpoints(folder, attempt, stopping=stop_marker(self._checkpoints).exists)

    def weights(self, file: str) -> Path:
        return self._weights / file

    def predictions(self, trial: str) -> Path:
        return self._checkpoints.parent / PREDICTIONS / predictions_name(trial)

    def kept(self, path: Path) -> None:
        """Nothing to do: it is there already."""

    def done(self, trial: str) -> None:
        """Nothing to do: the files belong to the run."""
