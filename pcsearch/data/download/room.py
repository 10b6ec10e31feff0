"""Room on the disk, and what the file system refuses, as messages."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from pcsearch.data.entry import Archive
from pcsearch.errors import UserError

UNPACKED_SHARE = 1.1
"""Bytes unpacked per byte of archive: archives of JPEG files hardly compress."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


def check_room(root: Path, to_fetch_bytes: int, to_unpack: Sequence[Archive]) -> None:
    """UserError if the disk has less room than download and unpacking need together."""
    unpacked = int(sum((archive.size_bytes or 0) * UNPACKED_SHARE for archive in to_unpack))
    needed, free = to_fetch_bytes + unpacked, shutil.disk_usage(root).free
    if free < needed:
        raise UserError(
            f"not enough room in {root}: about {readable(needed)} needed "
            f"({readable(to_fetch_bytes)} to download, {readable(unpacked)} unpacked), "
            f"{readable(free)} free. Free some, or choose a folder on another disk by --root."
        )


@contextlib.contextmanager
def writing(root: Path) -> Iterator[None]:
    """Turn what the file system refuses under `root` into a UserError."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise UserError(
                f"{root}: the disk is full. What was downloaded is kept: free some room and run "
                "the same command again, it goes on from there."
            ) from error
        where = f" ({error.filename})" if error.filename else ""
        raise UserError(
            f"{root} cannot be written: {error.strerror or error}{where}. Make it writable, or "
            "choose another folder by --root."
        ) from error


def readable(number: int) -> str:
    """Bytes in a unit that fits: `817 bytes`, `1.2 MB`, `1.15 GB`."""
    for unit, size, digits in (("GB", 10**9, 2), ("MB", 10**6, 1), ("kB", 10**3, 1)):
        if number >= size:
            return f"{number / size:.{digits}f} {unit}"
    return f"{number} bytes"
