"""Scratch folders of one process. The next process removes those of killed ones."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

SCRATCH = "scratch"
"""Below the cache folder: staging files of processes whose run is in an object store."""

_LOCK = ".lock"


@contextmanager
def scratch_folder(parent: Path, prefix: str = "scratch-") -> Iterator[Path]:
    """A new folder under `parent`, removed at the end and locked while the process lives.

    Folders of killed processes of this user are removed too, if their names begin with `prefix`.
    """
    parent.mkdir(parents=True, exist_ok=True)
    _sweep(parent, prefix)
    with ExitStack() as held:
        folder = _locked_folder(parent, prefix, held)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _locked_folder(parent: Path, prefix: str, held: ExitStack) -> Path:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        with suppress(Timeout, OSError):  # another process may have removed it meanwhile
            lock = FileLock(folder / _LOCK, timeout=0)
            lock.acquire()
            if (folder / _LOCK).exists():
                held.callback(lock.release)
                return folder
            lock.release()


def _sweep(parent: Path, prefix: str) -> None:
    for folder in parent.glob(f"{prefix}*"):
        with suppress(Timeout, OSError):
            # a machine's temporary folder is shared, so open nothing of other users
            ours = folder.lstat().st_uid == os.getuid() and not folder.is_symlink()
            if ours and (folder / _LOCK).exists():
                with FileLock(folder / _LOCK, timeout=0):
                    shutil.rmtree(folder, ignore_errors=True)
