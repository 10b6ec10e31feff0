"""Is a file the one that was published: its size and its checksum."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pcsearch.data.entry import Archive
from pcsearch.regular_files import open_regular

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Verdict:
    """What a check found.

    Attributes:
        problem: what is expected and what was found, empty where they agree.
        note: what was checked.
    """

    problem: str
    note: str


def check(path: Path, archive: Archive, progress: Callable[[int, int], None]) -> Verdict:
    """Compare size and checksum with what is published; `progress` gets bytes done and in all."""
    size = path.stat().st_size
    if archive.size_bytes is not None and size != archive.size_bytes:
        return Verdict(f"{archive.size_bytes:,} bytes are expected, it has {size:,}", "")
    if archive.checksum is None:
        checked = "its size" if archive.size_bytes is not None else "nothing"
        return Verdict("", f"no checksum is published for it; {checked} could be checked")
    kind, _, expected = archive.checksum.partition(":")
    found = file_digest(path, kind, progress)
    if found != expected.lower():
        return Verdict(f"{kind} {expected} is expected, it has {found}", "")
    return Verdict("", f"its {kind} is the published one")


def file_digest(path: Path, kind: str, progress: Callable[[int, int], None]) -> str:
    """The digest of a file as hexadecimal digits, read in chunks."""
    digest = hashlib.new(kind, usedforsecurity=False)
    total, done = path.stat().st_size, 0
    with open_regular(path) as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            progress(done, total)
    return digest.hexdigest()
