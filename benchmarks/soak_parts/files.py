"""What happens to files between two launches."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

TORN = b'{"event":"epoch","trial":"digits/compact_cnn/pc/sea'
STALE = (".summary.json.99999.tmp", "data/.digits.train.npz.99999.tmp")


@dataclass(frozen=True)
class Place:
    """The run folder, the image cache, and chance; `hit` are checkpoints that are damaged."""

    run: Path
    cache: Path
    random: Random
    hit: set[Path] = field(default_factory=set)

    def newest(self) -> list[Path]:
        """The newest checkpoint of every trial, of those that are whole."""
        folders = sorted(path for path in self.run.glob("checkpoints/*") if path.is_dir())
        whole = [sorted(self._whole(folder), key=_epoch) for folder in folders]
        return [files[-1] for files in whole if files]

    def _whole(self, folder: Path) -> list[Path]:
        """Without one emptied earlier, which stays until its epoch is trained again."""
        found = {*folder.glob("a*-e*.pt")} - self.hit
        return [path for path in found if path.stat().st_size > 1]


def _epoch(path: Path) -> tuple[int, str]:
    return int(path.stem.partition("-e")[2]), path.name


@dataclass(frozen=True)
class FileFault:
    """Something done to files.

    Attributes:
        kind: What is done.
        how: By which means.
        apply: Does it; says to which file, None where there was none.
        damages: Whether a checkpoint cannot be used afterwards, or events are gone: epochs that
            are trained again are its doing.
    """

    kind: str
    how: str
    apply: Callable[[Place], str | None]
    damages: bool = False


def _truncate_checkpoint(place: Place) -> str | None:
    return _to_one(place, lambda data: data[: place.random.randrange(1, len(data))])


def _empty_checkpoint(place: Place) -> str | None:
    return _to_one(place, lambda data: b"")


def _flip_checkpoint(place: Place) -> str | None:
    def flipped(data: bytes) -> bytes:
        at = place.random.randrange(len(data))
        bit = 1 << place.random.randrange(8)
        return data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]

    return _to_one(place, flipped)


def _to_one(place: Place, change: Callable[[bytes], bytes]) -> str | None:
    found = place.newest()
    if not found:
        return None
    path = place.random.choice(found)
    path.write_bytes(change(path.read_bytes()))
    place.hit.add(path)
    return f"{path.parent.name}/{path.name}"


def _delete_checkpoints(place: Place) -> str | None:
    damaged = {path.parent for path in place.hit}
    found = [path.parent for path in place.newest() if path.parent not in damaged]
    if not found:
        return None
    folder = place.random.choice(found)
    shutil.rmtree(folder)
    return folder.name


def _half_line(place: Place) -> str | None:
    journal = place.run / "journal.jsonl"
    if not journal.is_file():
        return None
    with journal.open("ab") as file:
        file.write(TORN[: place.random.randrange(1, len(TORN))])
    return ""


def _cut_line(place: Place) -> str | None:
    """Its last whole line, and what may come after it, up to a random byte of that line."""
    journal = place.run / "journal.jsonl"
    data = journal.read_bytes() if journal.is_file() else b""
    whole = data.rpartition(b"\n")[0]
    if not whole:
        return None
    start = whole.rfind(b"\n") + 1
    journal.write_bytes(data[: place.random.randrange(start, len(whole))])
    return whole[start : start + 16].decode(errors="replace")


def _delete(pattern: str) -> Callable[[Place], str | None]:
    def apply(place: Place) -> str | None:
        found = sorted(place.run.glob(pattern))
        if not found:
            return None
        path = place.random.choice(found)
        path.unlink()
        return path.name

    return apply


def _truncate(pattern: str) -> Callable[[Place], str | None]:
    def apply(place: Place) -> str | None:
        found = [path for path in sorted(place.run.glob(pattern)) if path.stat().st_size > 1]
        if not found:
            return None
        path = place.random.choice(found)
        data = path.read_bytes()
        path.write_bytes(data[: place.random.randrange(len(data))])
        return path.name

    return apply


def _garbage(place: Place) -> str | None:
    path = place.run / "driver.json"
    path.write_bytes(place.random.choice((b"", b"{", b"null", b'{"pid": "x"}', b"\xff\x00")))
    return ""


def _no_cache(place: Place) -> str | None:
    if not place.cache.is_dir():
        return None
    shutil.rmtree(place.cache)
    return ""


def _stale(place: Place) -> str | None:
    for name in STALE:
        path = place.run / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
    for checkpoint in place.newest():
        checkpoint.with_name(f".{checkpoint.name}.99999.tmp").write_bytes(b"half")
    return ""


def _stopping(place: Place) -> str | None:
    if not (place.run / "checkpoints").is_dir():
        return None
    (place.run / "checkpoints" / "stopping").touch()
    return ""


_CHECKPOINTS = (
    FileFault("newest checkpoint torn", "cut at a random byte", _truncate_checkpoint, True),
    FileFault("newest checkpoint emptied", "0 bytes", _empty_checkpoint, True),
    FileFault("newest checkpoint damaged", "one bit flipped", _flip_checkpoint, True),
    FileFault("a trial's checkpoints gone", "deleted", _delete_checkpoints, True),
)
CHECKPOINT_FAULTS = {fault.kind for fault in _CHECKPOINTS}
FILE_FAULTS = {
    fault.kind: fault
    for fault in (
        *_CHECKPOINTS,
        FileFault("half a line in the journal", "appended", _half_line),
        FileFault("journal's last event lost", "cut in its middle", _cut_line, True),
        FileFault("summary.json gone", "deleted", _delete("summary.json")),
        FileFault("summary.json torn", "cut at a random byte", _truncate("summary.json")),
        FileFault("driver.json garbage", "overwritten", _garbage),
        FileFault("labels torn", "data/*.npz cut", _truncate("data/*.npz")),
        FileFault("labels gone", "data/*.npz deleted", _delete("data/*.npz")),
        FileFault("decoded images gone", "cache deleted", _no_cache),
        FileFault("left-over temporary files", "made", _stale),
        FileFault("left-over stop marker", "made", _stopping),
    )
}
