"""A run in an object store, as a worker sees it: copies in a scratch folder of its own."""

from __future__ import annotations

import atexit
import shutil
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path

from pcsearch.errors import PcsearchError, TrialError
from pcsearch.search.trial import checkpoint_folder
from pcsearch.storage import Storage, open_storage
from pcsearch.storage.patience import Patience
from pcsearch.storage.scratch import SCRATCH, scratch_folder
from pcsearch.train.checkpoints import Checkpoints

STOP_MARKER = "checkpoints/stopping"

NEEDED = Patience(total_seconds=120.0, unmet_seconds=60.0)
"""With a store that does not answer when a trial cannot go on without."""

PASSING = Patience(total_seconds=8.0, unmet_seconds=8.0, longest_wait_seconds=2.0)
"""And when it can: the next checkpoint that is due is tried again."""

LONGEST_SECONDS = 120.0
"""Between two checkpoints: large ones take a while over a network, and training waits."""

_ASK_EVERY_SECONDS = 1.0
_ASK_AGAIN_AFTER_ERROR_SECONDS = 20.0


@lru_cache(maxsize=4)
def stored_files(url: str, cache: str) -> StoredFiles:
    """The files of the run at an address, one copy a process."""
    open_while_process_lives = ExitStack()
    folder = open_while_process_lives.enter_context(scratch_folder(Path(cache) / SCRATCH))
    atexit.register(open_while_process_lives.close)
    files = StoredFiles(url, folder)
    files.try_to_write()
    return files


class StoredFiles:
    """See `RunFiles`.

    Args:
        url: The run's.
        folder: For copies, this process's own.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self._needed = open_storage(url, NEEDED)
        self._passing = open_storage(url, PASSING)
        self._folder = folder
        self._fetched = False
        self._asked_to_stop = _StopAsked(self._passing)

    def try_to_write(self) -> None:
        """See that this node may write to the store, before anything is trained for it.

        Raises:
            UserError: it may not, or has no credentials.
            StorageError: the store does not answer.
        """
        name = f"checkpoints/written-by/{uuid.uuid4().hex}"
        self._needed.write(name, b"")
        self._needed.remove(name)

    @property
    def data(self) -> str:
        """Fetched when it is first asked for.

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
        name = f"checkpoints/{checkpoint_folder(trial)}"
        return Checkpoints(
            self._folder / name,
            attempt,
            stopping=self._asked_to_stop,
            longest_seconds=LONGEST_SECONDS,
            origin=_StoredCheckpoints(name, self._needed, self._passing),
        )

    def weights(self, file: str) -> Path:
        return self._folder / "weights" / file

    def kept(self, path: Path) -> None:
        """Upload weights.

        Raises:
            StorageError: the store does not answer; the trial has to be begun again.
        """
        self._needed.upload(f"weights/{path.name}", path)
        path.unlink(missing_ok=True)

    def done(self, trial: str) -> None:
        folder = self._folder / "checkpoints" / checkpoint_folder(trial)
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
    """Whether the campaign stops; asks the store once a second at most."""

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
