"""Folders of this process alone, which outlive it only until the next process needs one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

SCRATCH = "scratch"
"""Below the cache folder: what processes keep that work on a run which lies elsewhere."""

_LOCK = ".lock"


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A new folder under `parent`, removed at the end.

    It is locked as long as the process lives. What killed processes left there is removed, too.
    """
    parent.mkdir(parents=True, exist_ok=True)
    _sweep(parent)
    with ExitStack() as held:
        folder = _locked_folder(parent, held)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _locked_folder(parent: Path, held: ExitStack) -> Path:
    while True:
        folder = Path(tempfile.mkdtemp(prefix="scratch-", dir=parent))
        with suppress(Timeout, OSError):  # another process may have swept it up meanwhile
            lock = FileLock(folder / _LOCK, timeout=0)
            lock.acquire()
            if (folder / _LOCK).exists():
                held.callback(lock.release)
                return folder
            lock.release()


def _sweep(parent: Path) -> None:
    for lock in parent.glob(f"scratch-*/{_LOCK}"):
        if lock.parent.is_symlink():
            continue
        with suppress(Timeout, OSError), FileLock(lock, timeout=0):
            shutil.rmtree(lock.parent, ignore_errors=True)
