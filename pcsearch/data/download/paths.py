"""Where a dataset, its archives and partial downloads lie under `data.root`, and room for them."""

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
    """UserError if the disk has less room than download and unpacking need together."""
    unpacked = int(sum((archive.size_bytes or 0) * _UNPACKED_SHARE for archive in to_unpack))
    needed, free = to_fetch_bytes + unpacked, shutil.disk_usage(root).free
    if free < needed:
        raise UserError(
            f"not enough room in {root}: about {human_bytes(needed)} needed "
            f"({human_bytes(to_fetch_bytes)} to download, {human_bytes(unpacked)} unpacked), "
            f"{human_bytes(free)} free. Free some, or choose a folder on another disk by --root."
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


DOWNLOADS = ".pcsearch-downloads"
"""Within the root, so that it is on the same disk (what is unpacked there is renamed into place,
and one look at the free space is enough), outlives a reboot, and serves everyone who shares the
root; hidden, so that no reader takes it for data."""


@dataclass(frozen=True)
class Places:
    """The folders of one dataset's download.

    Attributes:
        root: what the user gave as data.root.
        downloads: partial and whole archives.
        lock: held by the process that gets it; it is never removed, which would split waiters.
        staging: a root in the making; its content is moved to `root` when all of it is there.
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
        """A downloaded archive, whole and checked."""
        return self.downloads / archive.file

    def part(self, archive: Archive) -> Path:
        """What has been downloaded of it so far."""
        return self.downloads / f"{archive.file}.part"


def hand_places(entry: CatalogEntry, archive: Archive, root: Path) -> tuple[Path, ...]:
    """Where an archive may lie that was fetched in another way, the recommended place first."""
    folders = (root, root / archive.unpack_in, root / entry.folder, root / DOWNLOADS)
    return tuple(dict.fromkeys(folder / archive.file for folder in folders))


@dataclass(frozen=True)
class Presence:
    """What a glance, without reading the dataset, finds of it.

    Attributes:
        folder: where it is, or would be; None for a dataset without a folder of its own.
        there: whether that folder exists and holds something, or cannot be looked into.
        part_bytes: what an unfinished download has fetched so far.
    """

    folder: Path | None
    there: bool
    part_bytes: int


def presence(entry: CatalogEntry, root: Path) -> Presence:
    """Look for a folder that the reader would take; `data info` and `verify` look into it."""
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
        yield root  # the dataset's own folder was given as the root


def _holds_something(folder: Path) -> bool:
    """Whether there is anything in it, or it cannot be looked into."""
    if not folder.is_dir():
        return False
    try:
        return any(folder.iterdir())
    except PermissionError:
        return True


def move_in_place(staging: Path, root: Path, own: Path, *, leave: Path) -> None:
    """Move everything in `staging`, but for `leave`, to `root`.

    A folder that is not there yet arrives by one rename, whole or not at all. One that is there
    is completed: files of the same name are replaced within the dataset's `own` folder. Elsewhere
    in the root they are someone else's and stay, and the archive's remain in `staging`. Killed
    halfway, it can be called again.
    """
    os.sync()  # a name must not outlive, in a power cut, the bytes it stands for
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
