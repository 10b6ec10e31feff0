"""Files with the same bytes or the same picture, which must stay on one side of a split.

Near-duplicates must be known before a test part is held out. Thumbnails are enough to find them. A
thumbnail of a JPEG takes less time than the whole image, because its decoder skips the detail.
Thumbnails are stored in the image cache like other decoded images.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pcsearch.data.cache import Progress, default_cache_folder, ensure_store
from pcsearch.data.dataset import Int64Array
from pcsearch.data.decode import read_image
from pcsearch.data.sources import FileImages
from pcsearch.io import LARGEST_BYTES, open_regular

_PROBE_BYTES = 4096
_CHUNK_BYTES = 1 << 20


def same_bytes_groups(root: Path, names: Sequence[str]) -> Int64Array | None:
    """Group files that are copies of each other.

    Only files of equal size are read, first some bytes in their middle. So a folder of bitmaps of
    one size is not read as a whole. Empty and unreadable files have no copies.

    Args:
        root: the folder.
        names: n files relative to it, or absolute.

    Returns:
        [n] group numbers: the row of the first of several copies, else the file's own row. None
        if no file has a copy.
    """
    stamps = [_size_and_file(os.path.join(root, name)) for name in names]  # noqa: PTH118
    digests: dict[Hashable, bytes | None] = {}  # so that links to one file are read once

    def alike(rows: Iterable[int], *, whole: bool) -> list[list[int]]:
        keyed = []
        for row in rows:
            file = (stamps[row][1], whole)
            if file not in digests:
                digests[file] = _digest(root / names[row], whole=whole)
            keyed.append((digests[file] or row, row))
        return _shared(keyed)

    groups = np.arange(len(names), dtype=np.int64)
    for equal_size in _shared((size or -row, row) for row, (size, _) in enumerate(stamps)):
        for equal_middle in alike(equal_size, whole=False):
            for copies in alike(equal_middle, whole=True):
                groups[copies] = copies[0]
    return None if np.array_equal(groups, np.arange(len(names))) else groups


def merge_groups(stated: Int64Array | None, copies: Int64Array | None) -> Int64Array | None:
    """Groups that keep together all images that share a group in either grouping.

    Args:
        stated: [n] any group numbers, or None.
        copies: [n] rows, from `same_bytes_groups`, or None.
    """
    if stated is None or copies is None:
        return stated if copies is None else copies
    parent: dict[int, int] = {}

    def top(group: int) -> int:
        while group in parent:
            group = parent[group]
        return group

    for row in np.flatnonzero(copies != np.arange(len(copies))).tolist():
        one, other = top(int(stated[row])), top(int(stated[copies[row]]))
        if one != other:
            parent[max(one, other)] = min(one, other)
    numbers, inverse = np.unique(stated, return_inverse=True)
    merged = np.array([top(number) for number in numbers.tolist()], dtype=np.int64)
    return merged[inverse]


def _size_and_file(path: str) -> tuple[int, Hashable]:
    try:
        status = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return 0, None
    return status.st_size, (status.st_dev, status.st_ino)


def _digest(path: Path, *, whole: bool) -> bytes | None:
    digest = hashlib.sha256()
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > LARGEST_BYTES:
                return None
            if not whole:
                file.seek(max(0, (size - _PROBE_BYTES) // 2))
                digest.update(file.read(_PROBE_BYTES))
            while whole and (chunk := file.read(_CHUNK_BYTES)):
                digest.update(chunk)
    except OSError:
        return None
    return digest.digest()


def _shared(keyed: Iterable[tuple[Hashable, int]]) -> list[list[int]]:
    """The rows of each key that has more than one."""
    rows: dict[Hashable, list[int]] = {}
    for key, row in keyed:
        rows.setdefault(key, []).append(row)
    return [members for members in rows.values() if len(members) > 1]


THUMBNAIL_SIDE = 64
"""Side of the thumbnails in pixels."""


@dataclass(frozen=True)
class Thumbnails:
    """The images of files, decoded with only the detail that `THUMBNAIL_SIDE` pixels need."""

    files: FileImages

    @property
    def key(self) -> str:
        return f"thumbnails {self.files.key}"

    def __len__(self) -> int:
        return len(self.files)

    def name(self, index: int) -> str:
        """The path of file `index`."""
        return self.files.name(index)

    def image(self, index: int) -> Image.Image:
        """File `index` as RGB, with sides of at least `THUMBNAIL_SIDE` pixels if it has as many."""
        return read_image(self.files.root / self.files.names[index], least_side=THUMBNAIL_SIDE)


def same_picture_groups(
    root: Path,
    names: tuple[str, ...],
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Int64Array:
    """[n] group numbers of files: equal for near-duplicates, -1 for unreadable files.

    Args:
        root: the folder.
        names: n files relative to it, or absolute.
        cache: the image cache; None takes this machine's own.
        progress: called with the number of thumbnails made and of all thumbnails.

    Raises:
        UserError: no file can be read, or the cache has no room or is not writable.
    """
    store = ensure_store(
        Thumbnails(FileImages.of(root, names)),
        THUMBNAIL_SIDE,
        folder=cache or default_cache_folder(),
        on_bad_image="skip",
        progress=progress,
        waiting=progress,
    )
    groups = np.full(len(names), -1, dtype=np.int64)
    groups[store.kept] = store.twins
    return groups
