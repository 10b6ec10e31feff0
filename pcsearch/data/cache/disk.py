"""Writing big files safely: whole or not at all, with clear messages."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from pcsearch.errors import UserError
from pcsearch.regular_files import create_anew

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def disk_errors(folder: Path, needed_bytes: int) -> Iterator[None]:
    """Turn what the file system refuses while writing to `folder` into a UserError."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise no_room(folder, needed_bytes, quota=error.errno == errno.EDQUOT) from error
        raise UserError(
            f"the image cache cannot be written in {folder}: {error.strerror or error}. "
            "Make that folder writable or set PCSEARCH_CACHE to another one."
        ) from error


def no_room(folder: Path, needed_bytes: int, quota: bool = False) -> UserError:
    """The error that says how much room is needed in `folder` and how much there is."""
    free_bytes = shutil.disk_usage(folder).free if folder.is_dir() else 0
    free = "more than your disk quota allows" if quota else f"{readable(free_bytes)} free"
    return UserError(
        f"not enough room in {folder} for the image cache: {readable(needed_bytes)} needed, "
        f"{free}. Free some, lower image.resize, or set PCSEARCH_CACHE to a folder on another disk."
    )


def write_at(file: int, data: memoryview, offset: int) -> None:
    """Write all of `data` at `offset`; a nearly full disk accepts parts before it refuses."""
    while len(data):
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written


def write_synced(path: Path, data: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with create_anew(path) as file:
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


def readable(number: int) -> str:
    """Bytes as people read them, and exactly."""
    return f"{number / 1e6:,.1f} MB ({number:,} bytes)"
