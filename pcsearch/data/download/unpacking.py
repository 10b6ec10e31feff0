"""Unpacking an archive that nobody vouches for: only files and folders, only below the target."""

from __future__ import annotations

import errno
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

from pcsearch.data.download.room import readable
from pcsearch.errors import UserError
from pcsearch.regular_files import create_anew, open_regular

Moved = Callable[[int, int], None]
_CHUNK_BYTES = 1 << 20
_BROKEN = (EOFError, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile)
_NONSENSE = (KeyError, ValueError, OverflowError, RecursionError)
"""What tarfile raises at a link to nothing, and at headers that hold no number."""
_CONFLICTS = (errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG)
_UNREADABLE = (errno.EIO, errno.EAGAIN)
_MOST_GROWTH, _SMALL_BYTES = 100, 1 << 20
"""Text shrinks to a twentieth, and a bomb to a thousandth or less."""
_TAR_HEADER_BYTES = 512
_FIELDS_BYTES = 1 << 20
"""Of a member's long name, or of its further fields."""
_PADDING_BYTES = 1 << 27
_MOST_FOLDERS = 64
"""That a member lies in: Python makes and removes folders within folders by recursion."""
_NAMED_CHARACTERS = 200


def unpack(archive: Path, folder: Path, moved: Moved) -> None:
    """Unpack a tar (also compressed) or zip file into `folder`, which is made.

    Args:
        archive: the file; its content decides what it is, not its name.
        folder: where its members go.
        moved: called with bytes done and in all.

    Raises:
        UserError: it is no archive, truncated, damaged or encrypted, or holds a member that does
            not belong into a dataset: a link, a device, a path that leads elsewhere, far more bytes
            than an archive of its size has.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        raw = open_regular(archive)
    except OSError as error:
        raise UserError(f"{archive} cannot be read: {error.strerror}.") from error
    try:
        with raw:
            if _is_tar(raw):  # first: a zip file may be the last member of a tar
                _untar(archive, raw, folder, moved)
            elif zipfile.is_zipfile(raw):
                _unzip(archive, raw, folder, moved)
            else:
                raise UserError(f"{archive} is neither a tar nor a zip file{_looks_like(raw)}.")
    except (*_BROKEN, *_NONSENSE) as error:
        raise UserError(f"{archive} is damaged or not complete: {error}.") from error
    except OSError as error:
        if error.errno in _CONFLICTS:
            raise UserError(
                f"{archive} is damaged: its member {error.filename} cannot be made "
                f"({error.strerror})."
            ) from error
        if error.errno in _UNREADABLE:
            raise UserError(f"{archive} cannot be read: {error.strerror}.") from error
        if error.errno not in (None, errno.EINVAL):  # EINVAL: a place before the beginning
            raise
        # gzip and bz2 report bad data as OSError without a number.
        raise UserError(f"{archive} is damaged or not complete: {error}.") from error


class _Member(tarfile.TarInfo):
    """A member whose long name and further fields, which are read whole, are not too long."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if not self.isreg() and self.size > _FIELDS_BYTES:
            raise tarfile.HeaderError("a member's header is too large")
        return super()._proc_member(tar)  # type: ignore[misc, no-any-return]


def _open_tar(raw: BinaryIO) -> tarfile.TarFile:
    """With the limits of `_Member`, and what it begins with as the one compression to try.

    Python's decoder of xz, for one, looks for a beginning in zeros for ever.
    """
    raw.seek(0)
    start = raw.read(6)
    raw.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return tarfile.open(fileobj=raw, mode="r:gz", tarinfo=_Member)
    if start.startswith(b"BZh"):
        return tarfile.open(fileobj=raw, mode="r:bz2", tarinfo=_Member)
    if start == b"\xfd7zXZ\0":
        return tarfile.open(fileobj=raw, mode="r:xz", tarinfo=_Member)
    return tarfile.open(fileobj=raw, mode="r:", tarinfo=_Member)


def _is_tar(raw: BinaryIO) -> bool:
    try:
        with _open_tar(raw):
            return True
    except tarfile.TarError:
        return False
    finally:
        raw.seek(0)


def _untar(archive: Path, raw: BinaryIO, folder: Path, moved: Moved) -> None:
    if not hasattr(tarfile, "data_filter"):
        raise UserError("unpacking needs Python 3.11.4 or newer: older ones cannot do it safely.")
    size, unpacked = archive.stat().st_size, 0
    with _open_tar(raw) as tar:
        for member in tar:
            _check_member(archive, member.name, _kind(member))
            unpacked += _TAR_HEADER_BYTES + member.size
            _check_growth(archive, unpacked)
            if member.islnk():
                _check_member(archive, member.linkname, "")
                (folder / member.name).unlink(missing_ok=True)  # of an attempt that was killed
            tar.extract(member, folder, filter="data")
            moved(raw.tell(), size)
        # tarfile takes a damaged header for the end; the end is zeros, and then gzip's checksum.
        stream, padding = tar.fileobj, 0
        while stream is not None and (rest := stream.read(_CHUNK_BYTES)):
            if rest.strip(b"\0"):
                raise tarfile.ReadError("a member's header cannot be read")
            padding += len(rest)
            if padding > _PADDING_BYTES:
                raise tarfile.ReadError("zeros without end follow its last member")
    moved(size, size)


def _kind(member: tarfile.TarInfo) -> str:
    """What is wrong with a member's type, empty for files, folders and hard links.

    Symbolic links are refused even where they stay inside: several flaws of tarfile's filter
    were chains of them, and no dataset of the catalogue holds one.
    """
    if member.issym():
        return "a symbolic link"
    if not (member.isreg() or member.isdir() or member.islnk()):
        return "a device or another special file"
    return ""


def _unzip(archive: Path, raw: BinaryIO, folder: Path, moved: Moved) -> None:
    with zipfile.ZipFile(raw) as packed:
        members = packed.infolist()
        total, done = sum(member.file_size for member in members), 0
        _check_growth(archive, total)
        for member in members:
            link = stat.S_ISLNK(member.external_attr >> 16)
            _check_member(archive, member.filename, "a symbolic link" if link else "")
            if member.flag_bits & 1:
                raise UserError(f"{archive} is encrypted: unpack it yourself.")
        for member in members:
            target = folder / member.filename
            if member.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                source = packed.open(member)
            except NotImplementedError as error:
                raise UserError(f"{archive} cannot be unpacked: {error}.") from error
            with source, create_anew(target) as file:
                while chunk := source.read(_CHUNK_BYTES):
                    file.write(chunk)
                    done += len(chunk)
                    moved(done, total)
    moved(total, total)


def _check_member(archive: Path, name: str, wrong: str) -> None:
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if posix.is_absolute() or windows.drive or windows.root or ".." in windows.parts:
        wrong = "a path that leads out of the folder"
    if len(windows.parts) > _MOST_FOLDERS:
        wrong = f"in more than {_MOST_FOLDERS} folders"
    if "\0" in name:
        wrong = "a name that no file can have"
    if wrong:
        named = name if len(name) <= _NAMED_CHARACTERS else f"{name[:_NAMED_CHARACTERS]}…"
        raise UserError(
            f"{archive} is not unpacked: its member {named!r} is {wrong}, which no dataset needs. "
            "It may be a forgery: remove it, and get it from its publisher."
        )


def _check_growth(archive: Path, unpacked_bytes: int) -> None:
    """Before the bytes are written: a forged archive must not fill the disk."""
    if unpacked_bytes > max(_SMALL_BYTES, _MOST_GROWTH * archive.stat().st_size):
        raise UserError(
            f"{archive} is not unpacked: it states to hold {readable(unpacked_bytes)} or more, "
            f"over {_MOST_GROWTH} times its own size. It is not complete, or a forgery: remove it, "
            "and get it from its publisher."
        )


def _looks_like(raw: BinaryIO) -> str:
    raw.seek(0)
    start = raw.read(512).lstrip().lower()
    return ", but a web page" if start.startswith((b"<!doctype", b"<html")) else ""
