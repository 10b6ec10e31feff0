"""Where a dataset, its archives and what is left of a download lie under `data.root`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pcsearch.data.entry import Archive, CatalogEntry

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
