"""Safe reads of files that others may have filled, and atomic writes of our own.

A pipe in place of a file would block its reader for ever. A link would lead a writer out of the
folder. A file of unlimited size would fill the memory of a reader that reads it whole.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

_Found = TypeVar("_Found")

# the last two exist on POSIX only
_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
_NO_LINK: int = getattr(os, "O_NOFOLLOW", 0)

LARGEST_BYTES = 2**30
"""Limit of a file that is read whole and may be large: an image, a table."""


def not_the_file(start: bytes) -> str | None:
    """Why a file that begins with these bytes is certainly another one than its name says.

    None if it may be the right one. 32 bytes are enough.
    """
    if start.startswith(b"version https://git-lfs."):
        return "a Git LFS pointer, not the file itself: run `git lfs pull` in its folder"
    if start.startswith((b"/annex/objects/", b"../.git/annex/", b".git/annex/objects/")):
        return "a git-annex pointer, not the file itself: run `git annex get` in its folder"
    if start.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
        return "a web page, not the file itself: download it again"
    return None


def is_safetensors(start: bytes) -> bool:
    """Whether a file that begins with these bytes (at least 10) is one of safetensors."""
    length = int.from_bytes(start[:8], "little")
    return start[8:10] in (b'{"', b"{}", b"{ ") and 2 <= length < 100_000_000


def expanded(path: str | Path) -> Path:
    """The path with a leading `~` expanded; unchanged where there is no such user."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 (Path's own raises a RuntimeError)


NO_HOME = Path("/dev/null")
"""Stands for the home folder of a user without one: nothing can ever be written below it."""


def home_folder() -> Path:
    """The user's home folder; `NO_HOME` without HOME and an account, as in some containers."""
    try:
        return Path.home()
    except RuntimeError:
        return NO_HOME


def open_regular(path: Path) -> BinaryIO:
    """Open for reading.

    Raises:
        OSError: it cannot be read, or is a folder, a pipe, a socket or a device.
    """
    _check(path.stat().st_mode, path)  # some devices act when they are merely opened
    # opened by name, because an array mapped from the file keeps that name
    file = io.BufferedReader(_Ready(os.fspath(path), opener=_without_waiting))
    try:
        _check(os.fstat(file.fileno()).st_mode, path)
    except BaseException:
        file.close()
        raise
    return file


class _Ready(io.FileIO):
    """A file read without blocking; some kernel files have nothing to read at times."""

    def readinto(self, buffer: Any) -> int:
        found: int | None = super().readinto(buffer)
        return self._there(found)

    def readall(self) -> bytes:
        return self._there(super().readall())

    def _there(self, found: _Found | None) -> _Found:
        if found is None:
            raise BlockingIOError(errno.EAGAIN, "has nothing to be read", str(self.name))
        return found


def descriptor_of(path: Path, flags: int = os.O_RDONLY) -> int:
    """A descriptor of an existing file, opened with `flags`.

    Raises:
        OSError: as for `open_regular`.
    """
    _check(path.stat().st_mode, path)
    descriptor = _without_waiting(os.fspath(path), flags)
    try:
        _check(os.fstat(descriptor).st_mode, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | _FLAGS)


def read_regular(path: Path, at_most_bytes: int = LARGEST_BYTES) -> bytes:
    """The whole content of a file.

    Raises:
        OSError: as for `open_regular`, or there are more than `at_most_bytes` bytes.
    """
    with open_regular(path) as file:
        stated = os.fstat(file.fileno()).st_size
        content = b"" if stated > at_most_bytes else file.read(stated + 1)
        if len(content) > stated:  # it grows, or is a kernel file, which states no size
            while len(content) <= at_most_bytes and (more := file.read(len(content) + 2**16)):
                content += more
    if max(stated, len(content)) > at_most_bytes:
        raise OSError(errno.EFBIG, f"is larger than {at_most_bytes / 1e6:g} MB", str(path))
    return content


def read_text(
    path: Path, encoding: str = "utf-8", errors: str = "strict", at_most_bytes: int = LARGEST_BYTES
) -> str:
    """A file's content as `Path.read_text` gives it: every line end is a newline.

    Raises:
        OSError: as for `read_regular`.
        UnicodeDecodeError: it is not text in this encoding.
    """
    content = io.BytesIO(read_regular(path, at_most_bytes))
    return io.TextIOWrapper(content, encoding, errors).read()


def own_text(path: Path, at_most_bytes: int) -> str | None:
    """A file's content as text; bytes that are not UTF-8 are replaced.

    None if it cannot be read, is larger, or is a link, whose target is somewhere else.
    """
    try:
        if path.is_symlink():
            return None
        return read_regular(path, at_most_bytes).decode("utf-8", "replace")
    except OSError:
        return None


def open_to_append(path: Path) -> int:
    """A descriptor to read and append to a regular file, which is created if missing.

    Raises:
        OSError: it cannot be written, is a link, or is not a regular file.
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
    """Open a new, empty file for writing; removes a file or link of that name first.

    Raises:
        OSError: it cannot be created.
    """
    path.unlink(missing_ok=True)
    return path.open("xb")


def own_folder(path: Path) -> Path:
    """A folder to write in, not a link; created if missing.

    Raises:
        OSError: it is a link or a file, or cannot be created.
    """
    if path.is_symlink():
        raise OSError(errno.ELOOP, "is a link; pcsearch does not write through links", str(path))
    path.mkdir(exist_ok=True)
    return path


def _check(mode: int, path: Path) -> None:
    if stat.S_ISLNK(mode):
        raise OSError(errno.ELOOP, "is a link; pcsearch does not write through links", str(path))
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "is not a regular file", str(path))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write to. If the block succeeds, the file is fsynced and renamed to `path`.

    The parent folder is created. On an error the new file is removed and `path` stays unchanged.

    Raises:
        OSError: it cannot be written, or the parent folder is a link, which could lead elsewhere.
    """
    if path.parent.is_symlink():
        raise OSError(
            errno.ELOOP, "is a link; pcsearch does not write through links", str(path.parent)
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    written.unlink(missing_ok=True)  # writing would follow a link left there
    try:
        yield written
        _fsync(written)
        written.replace(path)
    except BaseException as error:
        with suppress(OSError):
            written.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # a full disk
            error.filename = str(path)
        raise
    with suppress(OSError):  # some file systems cannot sync a folder; the rename itself stands
        _fsync(path.parent)


def remove_half_written(*folders: Path) -> None:
    """Remove the half-written files of killed processes.

    Nobody may write to these folders meanwhile. A report that is being written there is lost, and
    its command must be repeated.
    """
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


def human_bytes(number: int) -> str:
    """Bytes in a unit that fits: `817 bytes`, `1.2 MB`, `1.15 GB`."""
    for unit, size, digits in (("GB", 10**9, 2), ("MB", 10**6, 1), ("kB", 10**3, 1)):
        if number >= size:
            return f"{number / size:.{digits}f} {unit}"
    return f"{number} bytes"
