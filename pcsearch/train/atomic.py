"""Files that are either there whole or not there."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write to; when the block succeeds, it is fsynced and renamed to `path`.

    The parent folder is created. On any error what was written is removed and `path` is as before.

    Raises:
        OSError: it cannot be written, or the parent folder is a link, which could lead elsewhere.
    """
    if path.parent.is_symlink():
        raise OSError(errno.ELOOP, "is a link, which is not written through", str(path.parent))
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    written.unlink(missing_ok=True)  # a link that somebody left there would be followed
    try:
        yield written
        _fsync(written)
        written.replace(path)
    except BaseException as error:
        with suppress(OSError):
            written.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # as of a full disk
            error.filename = str(path)
        raise
    with suppress(OSError):  # some file systems cannot sync a folder; the rename itself stands
        _fsync(path.parent)


def remove_half_written(*folders: Path) -> None:
    """Remove what killed processes have left in folders that nobody writes to any more, but maybe a
    report, which is then to be asked for again."""
    for folder in folders:
        for left in folder.glob(".*.tmp"):
            with suppress(OSError):
                left.unlink()


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
