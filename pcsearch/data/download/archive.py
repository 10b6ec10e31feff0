"""One archive: find or download it, verify its checksum, unpack it only below its target."""

from __future__ import annotations

import errno
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

from pcsearch.data.dataset import Archive, CatalogEntry
from pcsearch.data.download.paths import Places, hand_places
from pcsearch.errors import UserError
from pcsearch.fetch import DownloadProgress, check_file, fetch_checked
from pcsearch.http import DownloadPatience, Partial, SourceError
from pcsearch.io import create_anew, human_bytes, open_regular

_CHUNK_BYTES = 1 << 20


_Moved = Callable[[int, int], None]
_BROKEN = (EOFError, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile)
_NONSENSE = (KeyError, ValueError, OverflowError, RecursionError)
"""tarfile raises these for a link to nothing, and for headers without a number."""
_CONFLICTS = (errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG)
_UNREADABLE = (errno.EIO, errno.EAGAIN)
_MOST_GROWTH, _SMALL_BYTES = 100, 1 << 20
"""Text is compressed to a twentieth, a zip bomb to a thousandth or less."""
_TAR_HEADER_BYTES = 512
_FIELDS_BYTES = 1 << 20
"""Limit for a member's long name, and for its further fields."""
_PADDING_BYTES = 1 << 27
_MOST_FOLDERS = 64
"""Limit for nested folders: Python creates and removes them by recursion."""
_NAMED_CHARACTERS = 200


def unpack(archive: Path, folder: Path, moved: _Moved) -> None:
    """Unpack a tar (also compressed) or zip file into `folder`, which is created.

    Args:
        archive: the file. Its content decides its type, not its name.
        folder: the folder for its members.
        moved: called with bytes done and total bytes.

    Raises:
        UserError: the file is no archive, truncated, damaged or encrypted; it is implausibly large
            when unpacked; or a member is a link, a device, or has a path out of the folder.
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
        raise UserError(
            f"{archive} is damaged or not complete: {error}. Download it again."
        ) from error
    except OSError as error:
        if error.errno in _CONFLICTS:
            raise UserError(
                f"{archive} is damaged: its member {error.filename} cannot be created "
                f"({error.strerror}). Download it again."
            ) from error
        if error.errno in _UNREADABLE:
            raise UserError(f"{archive} cannot be read: {error.strerror}.") from error
        if error.errno not in (None, errno.EINVAL):  # EINVAL: an offset before the file's start
            raise
        # gzip and bz2 report bad data as OSError without a number.
        raise UserError(
            f"{archive} is damaged or not complete: {error}. Download it again."
        ) from error


class _Member(tarfile.TarInfo):
    """A member with limited sizes of its long name and further fields: tarfile reads them whole."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if not self.isreg() and self.size > _FIELDS_BYTES:
            raise tarfile.HeaderError("a member's header is too large")
        return super()._proc_member(tar)  # type: ignore[misc, no-any-return]


def _open_tar(raw: BinaryIO) -> tarfile.TarFile:
    """Open a tar with the limits of `_Member`, and only the compression of its first bytes.

    Other decoders are not tried: Python's xz decoder, for example, never ends on zeros.
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


def _untar(archive: Path, raw: BinaryIO, folder: Path, moved: _Moved) -> None:
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
                (folder / member.name).unlink(missing_ok=True)  # left by a killed attempt
            tar.extract(member, folder, filter="data")
            moved(raw.tell(), size)
        # tarfile takes a damaged header for the end. A true end has only zeros; reading them also
        # verifies gzip's checksum.
        stream, padding = tar.fileobj, 0
        while stream is not None and (rest := stream.read(_CHUNK_BYTES)):
            if rest.strip(b"\0"):
                raise tarfile.ReadError("a member's header cannot be read")
            padding += len(rest)
            if padding > _PADDING_BYTES:
                raise tarfile.ReadError("too many zeros follow its last member")
    moved(size, size)


def _kind(member: tarfile.TarInfo) -> str:
    """The problem with a member's type; empty for files, folders and hard links.

    Symbolic links are refused even inside the folder. Several flaws of tarfile's filter were chains
    of them, and no dataset of the catalogue holds one.
    """
    if member.issym():
        return "a symbolic link"
    if not (member.isreg() or member.isdir() or member.islnk()):
        return "a device or another special file"
    return ""


def _unzip(archive: Path, raw: BinaryIO, folder: Path, moved: _Moved) -> None:
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
            "It may be a forgery: remove it, and download it from its publisher."
        )


def _check_growth(archive: Path, unpacked_bytes: int) -> None:
    """Called before bytes are written: a forged archive must not fill the disk."""
    if unpacked_bytes > max(_SMALL_BYTES, _MOST_GROWTH * archive.stat().st_size):
        raise UserError(
            f"{archive} is not unpacked: it declares {human_bytes(unpacked_bytes)} or more, over "
            f"{_MOST_GROWTH} times its own size. It is incomplete or a forgery: remove it, and "
            "download it from its publisher."
        )


def _looks_like(raw: BinaryIO) -> str:
    raw.seek(0)
    start = raw.read(512).lstrip().lower()
    return ", but a web page" if start.startswith((b"<!doctype", b"<html")) else ""


@dataclass(frozen=True)
class GotArchive:
    """A downloaded or found archive.

    Attributes:
        file: its name.
        path: where it is.
        yours: whether it was found outside the downloads; then it is kept there.
        fetched_bytes: bytes that came over the network this time.
        checked: what was compared with the published values.
    """

    file: str
    path: Path
    yours: bool
    fetched_bytes: int
    checked: str


def find(
    entry: CatalogEntry, archive: Archive, places: Places, progress: DownloadProgress
) -> GotArchive | None:
    """An archive that was downloaded earlier, by this program or by hand; None if none is right."""
    own = places.archive(archive)
    for path in (own, *hand_places(entry, archive, places.root)):
        if not path.is_file():
            continue
        verdict = check_file(path, archive, progress)
        if not verdict.problem:
            return GotArchive(archive.file, path, path != own, 0, verdict.note)
        if path == own:
            path.unlink()
        left = "removed" if path == own else "left there, not used"
        progress.noted(f"{path} is not the published file ({verdict.problem}): {left}")
    return None


def download(
    entry: CatalogEntry,
    archive: Archive,
    places: Places,
    progress: DownloadProgress,
    patience: DownloadPatience,
) -> GotArchive:
    """Fetch and check an archive from its sources in turn.

    Raises:
        UserError: no source provides it. The text gives each source's answer.
    """
    part, target = Partial(places.part(archive)), places.archive(archive)
    problems = []
    for url in archive.urls:
        try:
            got = fetch_checked(url, archive, part, progress, patience)
        except SourceError as failure:
            problems.append(f"{url}: {failure}")
        else:
            part.become(target)
            return GotArchive(archive.file, target, False, got.bytes, got.checked)
        if url != archive.urls[-1]:
            progress.noted(f"{problems[-1]}; trying the next source")
    raise UserError(_failure(entry, archive, places, problems, part.size_bytes))


def _failure(
    entry: CatalogEntry, archive: Archive, places: Places, problems: list[str], kept_bytes: int
) -> str:
    kept = f" {human_bytes(kept_bytes)} of it are kept and will be resumed." if kept_bytes else ""
    return "\n".join(
        [
            f"{archive.file} could not be downloaded:",
            *(f"  {problem}" for problem in problems),
            f"Try again later.{kept} Or fetch it in another way (see {entry.homepage}), put it at "
            f"{hand_places(entry, archive, places.root)[0]}, and run the same command again.",
        ]
    )
