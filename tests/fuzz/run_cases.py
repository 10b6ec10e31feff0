"""What may have happened to a run folder: one case a seed, always the same."""

from __future__ import annotations

import json
import os
import random
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 10**6, 10**9 + 1, 10**18, 10**40, 10**4000, 0.5, -0.0, 1e308,
    -1e308,
    float("nan"), float("inf"), "", "x", "1", "../../canary", "/etc/passwd", "a\0b", "\x1b[2J",
    "\ud800", "λ",
    "x" * 100_000, [], {}, [1], [[[]]], {"a": 1}, {"event": "epoch"}, ["x"] * 1000,
    "digits/compact_cnn/pc/search-000", "digits/compact_cnn", "pc", "continue", "complete",
    "prune", "confirm",
)  # fmt: skip

LINES = (
    b"", b"{}", b"[]", b"null", b"\0" * 100, b"[" * 50_000, b'{"a":' * 50_000, b"\xff\xfe{",
    b'{"event":"epoch"}',
    b'{"event":"campaign","t":0,"plan":{}}', b'{"event":"ended","status":"complete","t":1}',
    b'{"event":"x","event":"y"}',
    b'{"event":"ended","t":' + b"9" * 10_000 + b"}", b'"' + b"x" * 10_000_000, b" " * 100_000,
    b"\xef\xbb\xbf{}",
)  # fmt: skip

Files = list[Path]


def change_run(run: Path, canary: Path, seed: int) -> None:
    """One to three changes of a run folder; links lead to `canary`."""
    rng = random.Random(seed)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        kind = rng.random()
        if kind < 0.6:
            _change_journal(run / "journal.jsonl", rng)
        elif kind < 0.9:
            files = sorted(path for path in run.rglob("*") if path.is_file() or path.is_symlink())
            if files:
                rng.choice(FILE_CHANGES)(rng.choice(files), rng, canary)
        else:
            folder = run / rng.choice(("data", "checkpoints", "weights", "predictions"))
            rng.choice(FOLDER_CHANGES)(folder, rng, canary)


def _change_journal(path: Path, rng: random.Random) -> None:
    if not path.is_file():
        return
    lines = path.read_bytes().split(b"\n")
    rng.choice(JOURNAL_CHANGES)(lines, rng)
    path.write_bytes(b"\n".join(lines))


def _place(lines: list[bytes], rng: random.Random) -> int:
    return rng.choice((0, len(lines) - 1, rng.randrange(len(lines)), rng.randrange(len(lines))))


def _new_value(lines: list[bytes], rng: random.Random) -> None:
    """Another value, or key, somewhere in an event."""
    at = _place(lines, rng)
    try:
        event = json.loads(lines[at])
        target: Any = event
        while True:
            key: Any = rng.choice(list(target) if isinstance(target, dict) else range(len(target)))
            if not isinstance(target[key], dict | list) or not target[key] or rng.random() < 0.1:
                break
            target = target[key]
    except (ValueError, IndexError, TypeError):
        return
    action = rng.random()
    if action < 0.15:
        del target[key]
    elif action < 0.25 and isinstance(target, dict):
        target[rng.choice(("new", "", "event", "t", "trial"))] = rng.choice(VALUES)
    else:
        target[key] = rng.choice(VALUES)
    lines[at] = json.dumps(event).encode()


def _line_of_another_kind(lines: list[bytes], rng: random.Random) -> None:
    lines[_place(lines, rng)] = rng.choice(LINES)


def _double(lines: list[bytes], rng: random.Random) -> None:
    at = _place(lines, rng)
    lines[at:at] = [lines[at]] * rng.choice((1, 1, 30))


def _drop(lines: list[bytes], rng: random.Random) -> None:
    at = _place(lines, rng)
    del lines[at : at + rng.choice((1, 1, 20))]
    lines.append(b"")


def _swap(lines: list[bytes], rng: random.Random) -> None:
    a, b = _place(lines, rng), _place(lines, rng)
    lines[a], lines[b] = lines[b], lines[a]


def _end_early(lines: list[bytes], rng: random.Random) -> None:
    del lines[rng.randrange(len(lines)) :]
    lines.append(rng.choice((b"", b'{"event":"ep')))


def _shuffle(lines: list[bytes], rng: random.Random) -> None:
    at = rng.randrange(len(lines))
    part = lines[at : at + rng.choice((3, 10, 1000))]
    rng.shuffle(part)
    lines[at : at + len(part)] = part


def _again(lines: list[bytes], rng: random.Random) -> None:
    lines[-1:] = lines


def _carriage_returns(lines: list[bytes], rng: random.Random) -> None:
    lines[:] = [line + b"\r" for line in lines[:-1]] + [b""]


def _flip_in_lines(lines: list[bytes], rng: random.Random) -> None:
    lines[:] = _flipped(b"\n".join(lines), rng).split(b"\n")


JOURNAL_CHANGES: tuple[Callable[[list[bytes], random.Random], None], ...] = (
    _new_value, _new_value, _new_value, _new_value, _new_value, _line_of_another_kind, _double,
    _drop,
    _swap, _end_early, _shuffle, _again, _carriage_returns, _flip_in_lines, _flip_in_lines,
)  # fmt: skip


def _flipped(content: bytes, rng: random.Random) -> bytes:
    flipped = bytearray(content or b"x")
    for _ in range(rng.choice((1, 1, 2, 20))):
        flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
    return bytes(flipped)


def _flip(path: Path, rng: random.Random, canary: Path) -> None:
    path.write_bytes(_flipped(path.read_bytes(), rng))


def _cut(path: Path, rng: random.Random, canary: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content) + 1)])


def _grow(path: Path, rng: random.Random, canary: Path) -> None:
    """A terabyte of zeros that takes no room."""
    os.truncate(path, rng.choice((10**7, 10**12)))


def _junk(path: Path, rng: random.Random, canary: Path) -> None:
    path.write_bytes(rng.choice((b"", b"{}", b"null", b"\0", rng.randbytes(3000), b"[" * 9999)))


def _from_another(path: Path, rng: random.Random, canary: Path) -> None:
    others = [other for other in path.parents[0].iterdir() if other.is_file()]
    path.write_bytes(rng.choice(others).read_bytes())


def _gone(path: Path, rng: random.Random, canary: Path) -> None:
    path.unlink()


def _folder(path: Path, rng: random.Random, canary: Path) -> None:
    path.unlink()
    path.mkdir()


def _link(path: Path, rng: random.Random, canary: Path) -> None:
    path.unlink()
    path.symlink_to(
        rng.choice((canary / "letter.txt", canary / "new", canary, path, "/dev/zero", "/dev/tty"))
    )


def _pipe(path: Path, rng: random.Random, canary: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _socket(path: Path, rng: random.Random, canary: Path) -> None:
    path.unlink()
    os.mknod(path, stat.S_IFSOCK | 0o600)


FileChange = Callable[[Path, random.Random, Path], None]
_OF_FILES: tuple[FileChange, ...] = (
    _flip, _flip, _cut, _grow, _junk, _from_another, _gone, _folder, _link, _link, _pipe, _socket,
)  # fmt: skip


def _if_file(change: FileChange) -> FileChange:
    """An earlier change may have left something else there."""

    def changed(path: Path, rng: random.Random, canary: Path) -> None:
        if path.is_file() and not path.is_symlink():
            change(path, rng, canary)

    return changed


FILE_CHANGES = tuple(map(_if_file, _OF_FILES))


def _linked_folder(path: Path, rng: random.Random, canary: Path) -> None:
    _emptied(path, rng, canary)
    path.symlink_to(rng.choice((canary, path, "/", "..")))


def _file_for_folder(path: Path, rng: random.Random, canary: Path) -> None:
    _emptied(path, rng, canary)
    path.write_bytes(b"no folder")


def _emptied(path: Path, rng: random.Random, canary: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _linked_inside(path: Path, rng: random.Random, canary: Path) -> None:
    """A trial's folder of checkpoints lies elsewhere."""
    if path.is_dir() and not path.is_symlink():
        for inner in [inner for inner in path.iterdir() if inner.is_dir()]:
            _emptied(inner, rng, canary)
            inner.symlink_to(canary)


FOLDER_CHANGES = (_linked_folder, _file_for_folder, _emptied, _linked_inside)
