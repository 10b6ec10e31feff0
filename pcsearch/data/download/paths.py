"""Paths of a dataset, its archives and partial downloads under `data.root`, and room for them."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pcsearch.data.dataset import Archive, CatalogEntry
from pcsearch.errors import UserError
from pcsearch.io import human_bytes

_UNPACKED_SHARE = 1.1
"""Bytes unpacked per byte of archive: archives of JPEG files hardly compress."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


def check_room(root: Path, to_fetch_bytes: int, to_unpack: Sequence[Archive]) -> None:
    """UserError if the disk has too little room for download and unpacking together."""
    unpacked = int(sum((archive.size_bytes or 0) * _UNPACKED_SHARE for archive in to_unpack))
    needed, free = to_fetch_bytes + unpacked, shutil.disk_usage(root).free
    if free < needed:
        raise UserError(
            f"not enough room in {root}: about {human_bytes(needed)} needed "
            f"({human_bytes(to_fetch_bytes)} to download, {human_bytes(unpacked)} unpacked), "
            f"{human_bytes(free)} free. Free space, or choose a folder on another disk with --root."
        )


@contextlib.contextmanager
def writing(root: Path) -> Iterator[None]:
    """Turn file system errors under `root` into a UserError."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise UserError(
                f"{root}: the disk is full. The downloaded bytes are kept: free space and run the "
                "same command again to resume."
            ) from error
        where = f" ({error.filename})" if error.filename else ""
        raise UserError(
            f"{root} cannot be written: {error.strerror or error}{where}. Make it writable, or "
            "choose another folder with --root."
        ) from error


DOWNLOADS = ".pcsearch-downloads"
"""The download folder. It is within the root, so it is on the same disk: unpacked files are renamed
into place, and one check of the free space is enough. It also outlives a reboot and is shared by
all users of the root. It is hidden, so no reader takes it for data."""


@dataclass(frozen=True)
class Places:
    """The folders of one dataset's download.

    Attributes:
        root: the user's data.root.
        downloads: partial and whole archives.
        lock: held by the process that gets the dataset. It is never removed: waiting processes
            could then hold different files.
        staging: a root in the making. Its content is moved to `root` when it is complete.
    """

    root: Path
    downloads: Path
    lock: Path
    staging: Path

    @classmethod
    def of(cls, entry: CatalogEntry, root: Path) -> Places:
        downloads = root / DOWNLOADS / entry.id
        return cls(root, downloads, root / DOWNLOADS / f"{entry.id}.lock", downloads / "unpacked")

    def archive(self, archive: Archive) -> Path:
        """Path of a downloaded archive, whole and checked."""
        return self.downloads / archive.file

    def part(self, archive: Archive) -> Path:
        """Path of its unfinished download."""
        return self.downloads / f"{archive.file}.part"


def hand_places(entry: CatalogEntry, archive: Archive, root: Path) -> tuple[Path, ...]:
    """Places for an archive that the user fetched by hand, the recommended one first."""
    folders = (root, root / archive.unpack_in, root / entry.folder, root / DOWNLOADS)
    return tuple(dict.fromkeys(folder / archive.file for folder in folders))


@dataclass(frozen=True)
class Presence:
    """Whether a dataset is there, without reading it.

    Attributes:
        folder: where it is, or would be; None for a dataset without a folder.
        there: whether that folder exists and is not empty, or is unreadable.
        part_bytes: bytes of an unfinished download.
    """

    folder: Path | None
    there: bool
    part_bytes: int


def presence(entry: CatalogEntry, root: Path) -> Presence:
    """Look for a folder that the reader would accept, without checking its content."""
    if not entry.folder:
        return Presence(None, False, 0)
    there = next((folder for folder in _own_folders(entry, root) if _holds_something(folder)), None)
    part_bytes = sum(
        path.stat().st_size
        for archive in entry.archives
        for path in (Places.of(entry, root).part(archive), Places.of(entry, root).archive(archive))
        if path.is_file()
    )
    return Presence(there or root / entry.folder, there is not None, part_bytes)


def _own_folders(entry: CatalogEntry, root: Path) -> Iterator[Path]:
    """The folders that may be the dataset's, in the order in which its reader tries them."""
    names = (entry.folder, *entry.other_folders)
    yield from (root / name for name in names)
    if root.name in names or (entry.is_in is not None and entry.is_in(root)):
        yield root  # the user gave the dataset's own folder as the root


def _holds_something(folder: Path) -> bool:
    """Whether the folder is not empty, or unreadable."""
    if not folder.is_dir():
        return False
    try:
        return any(folder.iterdir())
    except PermissionError:
        return True


def move_in_place(staging: Path, root: Path, own: Path, *, leave: Path) -> None:
    """Move everything in `staging`, except `leave`, to `root`.

    A new folder is moved by one rename, whole or not at all. An existing folder is completed. Files
    with the same name are replaced only in the dataset's `own` folder; elsewhere the root's files
    stay, and the archive's remain in `staging`. A call that was killed halfway can be repeated.
    """
    os.sync()  # after a power cut, no new name may stand for bytes that were not written
    for entry in sorted(staging.iterdir()):
        if entry != leave:
            _move(entry, root / entry.name, own)


def _move(source: Path, target: Path, own: Path) -> None:
    if source.is_dir() and target.is_dir():
        for entry in sorted(source.iterdir()):
            _move(entry, target / entry.name, own)
        return
    if target.exists() and not target.is_relative_to(own):
        return
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(source, target)  # the target's folder is a link to another disk


def _copy(source: Path, target: Path) -> None:
    aside = target.with_name(f".{target.name}.pcsearch-part")
    if source.is_dir():
        shutil.rmtree(aside, ignore_errors=True)
        shutil.copytree(source, aside)
        aside.replace(target)
        shutil.rmtree(source)
    else:
        shutil.copy2(source, aside)
        aside.replace(target)
        source.unlink()
