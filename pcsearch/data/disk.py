"""Writing big files safely: room checked first, whole or not at all, clear messages."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from pcsearch.errors import UserError

_FULL = (errno.ENOSPC, errno.EDQUOT)


def check_room(folder: Path, needed_bytes: int) -> None:
    """UserError if the disk of `folder` has less room than that, stating both."""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise UserError(_full_message(folder, needed_bytes, free_bytes))


@contextlib.contextmanager
def disk_errors(folder: Path, needed_bytes: int) -> Iterator[None]:
    """Turn what the file system refuses while writing to `folder` into a UserError."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            free_bytes = shutil.disk_usage(folder).free if folder.is_dir() else 0
            raise UserError(_full_message(folder, needed_bytes, free_bytes)) from error
        raise UserError(
            f"the image cache cannot be written in {folder}: {error.strerror or error}. "
            "Make that folder writable or set PCSEARCH_CACHE to another one."
        ) from error


def write_at(file: int, data: memoryview, offset: int) -> None:
    """Write all of `data` at `offset`; a nearly full disk accepts parts before it refuses."""
    while len(data):
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written


def write_synced(path: Path, data: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_all(moves: Mapping[Path, Path]) -> None:
    """Rename files within one folder, in order, and wait until the disk has the new names."""
    for source, target in moves.items():
        source.replace(target)
    folder = os.open(next(iter(moves.values())).parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _full_message(folder: Path, needed_bytes: int, free_bytes: int) -> str:
    return (
        f"not enough room in {folder} for the image cache: {_readable(needed_bytes)} needed, "
        f"{_readable(free_bytes)} free. Free some, lower image.resize, or set PCSEARCH_CACHE "
        "to a folder on another disk."
    )


def _readable(number: int) -> str:
    return f"{number / 1e6:,.1f} MB ({number:,} bytes)"
