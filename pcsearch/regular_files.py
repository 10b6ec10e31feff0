"""Files in folders that others may have filled: only regular ones are opened, and no link is
written through.

A pipe in place of a file would make its reader wait for ever, a link would lead a writer out of
the folder, and a file of any size would fill the memory of who reads it whole.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

# the last two are names of POSIX only
_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
_NO_LINK: int = getattr(os, "O_NOFOLLOW", 0)


def open_regular(path: Path) -> BinaryIO:
    """Open for reading.

    Raises:
        OSError: it cannot be read, or is a folder, a pipe, a socket or a device.
    """
    _check(path.stat().st_mode, path)  # some devices act when they are merely opened
    descriptor = os.open(path, os.O_RDONLY | _FLAGS)
    try:
        _check(os.fstat(descriptor).st_mode, path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, at_most_bytes: int) -> bytes:
    """The whole content of a file.

    Raises:
        OSError: as for `open_regular`, or there are more than `at_most_bytes` bytes.
    """
    with open_regular(path) as file:
        content = file.read(at_most_bytes + 1) or b""  # None: nothing there yet, and no waiting
    if len(content) > at_most_bytes:
        raise OSError(errno.EFBIG, f"is larger than {at_most_bytes / 1e6:g} MB", str(path))
    return content


def own_text(path: Path, at_most_bytes: int) -> str | None:
    """A file's content as text, whatever its bytes.

    None if it cannot be read, is larger, or is a link: what that leads to lies somewhere else.
    """
    try:
        if path.is_symlink():
            return None
        return read_regular(path, at_most_bytes).decode("utf-8", "replace")
    except OSError:
        return None


def open_to_append(path: Path) -> int:
    """A descriptor to read and to append to a regular file, which is made if it is missing.

    Raises:
        OSError: it cannot be written, or is a link or no regular file.
    """
    if path.is_symlink() or path.exists():
        _check(path.lstat().st_mode, path)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | _FLAGS | _NO_LINK, 0o666)
    try:
        _check(os.fstat(descriptor).st_mode, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def create_anew(path: Path) -> BinaryIO:
    """Open a new, empty file for writing; a file or a link that has the name is removed first.

    Raises:
        OSError: it cannot be made.
    """
    path.unlink(missing_ok=True)
    return path.open("xb")


def own_folder(path: Path) -> Path:
    """A folder to write in that is itself a folder, made if it is missing.

    Raises:
        OSError: it is a link or a file, or cannot be made.
    """
    if path.is_symlink():
        raise OSError(errno.ELOOP, "is a link, which is not written through", str(path))
    path.mkdir(exist_ok=True)
    return path


def _check(mode: int, path: Path) -> None:
    if stat.S_ISLNK(mode):
        raise OSError(errno.ELOOP, "is a link, which is not written through", str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
