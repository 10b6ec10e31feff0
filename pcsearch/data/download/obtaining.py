"""One archive: found where it lies already, or downloaded from the first source that works."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pcsearch.data.download.checksums import Verdict, check
from pcsearch.data.download.fetching import fetch
from pcsearch.data.download.http import Patience
from pcsearch.data.download.partial import Partial
from pcsearch.data.download.places import Places, hand_places
from pcsearch.data.download.progress import DownloadProgress
from pcsearch.data.download.reasons import SourceError
from pcsearch.data.download.room import readable
from pcsearch.data.entry import Archive, CatalogEntry
from pcsearch.errors import UserError


@dataclass(frozen=True)
class GotArchive:
    """An archive that is there.

    Attributes:
        file: its name.
        path: where it is.
        yours: whether it was found outside the downloads, and is left there.
        fetched_bytes: how many bytes came over the network this time.
        checked: what was compared with what is published.
    """

    file: str
    path: Path
    yours: bool
    fetched_bytes: int
    checked: str


def find(
    entry: CatalogEntry, archive: Archive, places: Places, progress: DownloadProgress
) -> GotArchive | None:
    """An archive that was downloaded before, by this program or by hand, if it is the right one."""
    own = places.archive(archive)
    for path in (own, *hand_places(entry, archive, places.root)):
        if not path.is_file():
            continue
        verdict = _check(path, archive, progress)
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
    patience: Patience,
) -> GotArchive:
    """Fetch and check an archive from its sources in turn.

    Raises UserError, which names what each of them answered, if none gives it.
    """
    part, target = Partial(places.part(archive)), places.archive(archive)
    problems, fetched_bytes = [], 0
    for url in archive.urls:
        for _ in ("perhaps resumed", "from the start"):
            try:
                fetched = fetch(url, archive, part, progress, patience)
            except SourceError as failure:
                problems.append(f"{url}: {failure}")
                break
            fetched_bytes += fetched.bytes
            verdict = _check(part.path, archive, progress)
            if not verdict.problem:
                part.become(target)
                return GotArchive(archive.file, target, False, fetched_bytes, verdict.note)
            part.remove()
            problem = f"wrong content, removed: {verdict.problem}"
            if not fetched.resumed:
                problems.append(f"{url}: {problem}")
                break
            progress.noted(f"{archive.file}: {problem}; fetching it once more from the start")
        else:
            problems.append(f"{url}: {problem}")
        if url != archive.urls[-1]:
            progress.noted(f"{problems[-1]}; trying the next source")
    raise UserError(_failure(entry, archive, places, problems, part.size_bytes))


def _check(path: Path, archive: Archive, progress: DownloadProgress) -> Verdict:
    return check(
        path, archive, lambda done, total: progress.moved("checking", archive.file, done, total)
    )


def _failure(
    entry: CatalogEntry, archive: Archive, places: Places, problems: list[str], kept_bytes: int
) -> str:
    kept = f" {readable(kept_bytes)} of it are kept; it goes on from there." if kept_bytes else ""
    return "\n".join(
        [
            f"{archive.file} could not be downloaded:",
            *(f"  {problem}" for problem in problems),
            f"Try again later.{kept} Or fetch it in another way (see {entry.homepage}), put it at "
            f"{hand_places(entry, archive, places.root)[0]}, and run the same command again.",
        ]
    )
