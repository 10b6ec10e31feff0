"""`get_dataset`: bring a dataset from its publisher to its reader's folder."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pcsearch.data.dataset import Archive, CatalogEntry, DataOptions, Dataset
from pcsearch.data.download.archive import GotArchive, download, find
from pcsearch.data.download.paths import Places, check_room, hand_places, move_in_place, writing
from pcsearch.errors import UserError
from pcsearch.fetch import DownloadProgress
from pcsearch.http import DownloadPatience, Partial
from pcsearch.io import human_bytes

PATIENCE = DownloadPatience()


@dataclass(frozen=True)
class Got:
    """The result of `get_dataset`.

    Attributes:
        dataset: the dataset's id.
        state: `nothing needed` for a dataset without files to fetch, `here already`, or `fetched`.
        folder: where it is, None if it has none.
        classes: number of classes, None if it was not opened.
        images: number of images of each part.
        archives: archives that were downloaded or found.
        kept: archives that remain in the root.
    """

    dataset: str
    state: Literal["nothing needed", "here already", "fetched"]
    folder: Path | None = None
    classes: int | None = None
    images: tuple[tuple[str, int], ...] = ()
    archives: tuple[GotArchive, ...] = ()
    kept: tuple[Path, ...] = ()


def get_dataset(
    entry: CatalogEntry,
    root: Path,
    progress: DownloadProgress,
    *,
    keep_archives: bool = False,
    patience: DownloadPatience = PATIENCE,
) -> Got:
    """Download, check and unpack a dataset, unless it is there; then open it with its reader.

    A call that was killed resumes when repeated. One process works on a dataset, others wait.
    Nothing appears in the dataset's folder before all of it is unpacked.

    Args:
        entry: the dataset.
        root: the folder that holds datasets; created if missing.
        progress: receives the progress.
        keep_archives: keep downloaded archives in the root's download folder.
        patience: when to give up a source that does not deliver.

    Raises:
        UserError: no source has an archive, an archive is damaged or unsafe, there is too little
            room, the root is not writable, or the user must fetch files by hand first.
    """
    if not entry.archives and not entry.by_hand:
        return Got(entry.id, "nothing needed")
    places = Places.of(entry, root)
    with contextlib.suppress(UserError):
        return _done(entry, places, _open(entry, root), "here already")
    if not entry.archives:
        raise UserError(_by_hand(entry, places, entry.archives))
    with writing(root), _alone(places, progress):
        with contextlib.suppress(UserError):  # another process may have done it meanwhile
            return _done(entry, places, _open(entry, root), "here already")
        return _get(entry, places, progress, keep_archives, patience)


def _get(
    entry: CatalogEntry,
    places: Places,
    progress: DownloadProgress,
    keep_archives: bool,
    patience: DownloadPatience,
) -> Got:
    trusted = _unpacked_before(entry, places)
    archives = _obtain(
        entry, places, [a for a in entry.archives if a not in trusted], progress, patience
    )
    for archive in entry.archives:
        if archive not in trusted:
            _unpack(archive, archives[archive.file], places, progress)
    own = places.root / entry.folder
    move_in_place(places.staging, places.root, own, leave=_marks(places))
    shutil.rmtree(places.staging)
    try:
        dataset = _open(entry, places.root)
    except UserError as error:
        if trusted:  # files that were unpacked earlier are gone
            return _get(entry, places, progress, keep_archives, patience)
        raise UserError(
            f"{entry.title} was unpacked in {places.root}, but cannot be opened: {error}"
        ) from error
    used = {places.root / a.unpack_in / a.file for a in entry.archives if not a.unpack}
    kept = [
        got.path
        for got in archives.values()
        if (got.yours or keep_archives) and got.path not in used
    ]
    if not keep_archives:
        for archive in entry.archives:
            places.archive(archive).unlink(missing_ok=True)
    return _done(entry, places, dataset, "fetched", tuple(archives.values()), tuple(kept))


def _obtain(
    entry: CatalogEntry,
    places: Places,
    wanted: list[Archive],
    progress: DownloadProgress,
    patience: DownloadPatience,
) -> dict[str, GotArchive]:
    """All archives. Nothing is downloaded if one must first be fetched by hand."""
    found = {archive.file: find(entry, archive, places, progress) for archive in wanted}
    missing = [archive for archive in wanted if found[archive.file] is None]
    by_hand = [archive for archive in missing if not archive.urls]
    if by_hand:
        raise UserError(_by_hand(entry, places, tuple(by_hand)))
    have = sum(Partial(places.part(archive)).size_bytes for archive in missing)
    to_fetch = sum(archive.size_bytes or 0 for archive in missing)
    check_room(places.root, max(0, to_fetch - have), wanted)
    result = {}
    for archive in wanted:
        got = found[archive.file]
        if got is None:
            got = download(entry, archive, places, progress, patience)
            progress.noted(f"{archive.file}: downloaded; {got.checked}")
        else:
            progress.noted(f"{archive.file}: {got.path} is used; {got.checked}")
        result[archive.file] = got
    return result


def _unpack(archive: Archive, got: GotArchive, places: Places, progress: DownloadProgress) -> None:
    from pcsearch.data.download.archive import unpack

    folder = places.staging / archive.unpack_in
    final = places.root / archive.unpack_in / archive.file
    if archive.unpack:
        check_room(places.root, 0, [replace(archive, size_bytes=got.path.stat().st_size)])
        try:
            unpack(
                got.path,
                folder,
                lambda done, total: progress.moved("unpacking", archive.file, done, total),
            )
        except UserError as error:
            shutil.rmtree(places.staging)  # its files must not mix with those of a good archive
            if got.yours:
                raise
            got.path.unlink()  # otherwise the next call would use it again
            raise UserError(f"{error} It was removed.") from error
    elif got.path != final:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(got.path, folder / archive.file)
    _marks(places).mkdir(parents=True, exist_ok=True)
    (_marks(places) / archive.file).touch()


def _marks(places: Places) -> Path:
    """A folder with a file for each completely unpacked archive; removed with `staging`."""
    return places.staging / ".unpacked"


def _unpacked_before(entry: CatalogEntry, places: Places) -> list[Archive]:
    return [archive for archive in entry.archives if (_marks(places) / archive.file).is_file()]


def _open(entry: CatalogEntry, root: Path) -> Dataset:
    return entry.reader(DataOptions(root=root))


def _done(
    entry: CatalogEntry,
    places: Places,
    dataset: Dataset,
    state: Literal["here already", "fetched"],
    archives: tuple[GotArchive, ...] = (),
    kept: tuple[Path, ...] = (),
) -> Got:
    images = [("train", len(dataset.train.labels))]
    if dataset.given_val is not None:
        val = len(dataset.given_val)
        images = [("train", images[0][1] - val), ("val", val)]
    if dataset.test is not None:
        images.append(("test", len(dataset.test.labels)))
    folder = places.root / entry.folder
    return Got(
        entry.id,
        state,
        folder if folder.is_dir() else places.root,
        dataset.num_classes,
        tuple(images),
        archives,
        kept,
    )


@contextlib.contextmanager
def _alone(places: Places, progress: DownloadProgress) -> Iterator[None]:
    """Hold the dataset's lock. Its download folder is created, and removed at the end if empty."""
    from filelock import FileLock, Timeout

    places.lock.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(places.lock)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress.noted(f"another process is getting {places.downloads.name}; waiting for it")
        lock.acquire()
    try:
        places.downloads.mkdir(exist_ok=True)
        yield
    finally:
        with contextlib.suppress(OSError):  # not empty: something is kept
            places.downloads.rmdir()
        lock.release()


def _by_hand(entry: CatalogEntry, places: Places, missing: tuple[Archive, ...]) -> str:
    """What to fetch and where to put it."""
    lines = [f"{entry.title} must be fetched by hand: {entry.by_hand}"]
    for archive in missing:
        size = f" ({human_bytes(archive.size_bytes)})" if archive.size_bytes is not None else ""
        lines.append(f"  put {archive.file}{size} at {hand_places(entry, archive, places.root)[0]}")
    if missing:
        lines.append(
            f"Then run `pcsearch data get {entry.id} --root {places.root}` again: it checks and "
            "unpacks these files."
        )
    return "\n".join(lines)
