"""How a store lies on disk, and how its pixels are mapped.

A store is four files named by the store's key: KEY.npy (the pixels), KEY.prints.npy (their
fingerprints), KEY.twins.npy (the clusters of near-duplicates) and, put in place last, KEY.json
(what they are). KEY.lock is held by whoever builds or removes it; files that end in .tmp are a
builder's.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import io
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from pcsearch.data.cache.meta import StoreMeta
from pcsearch.data.dataset import Int64Array, UInt8Array
from pcsearch.data.duplicates import FINGERPRINT_BYTES
from pcsearch.regular_files import descriptor_of, open_regular, read_regular

_OURS = re.compile(r"([0-9a-f]{32})\.(npy|prints\.npy|twins\.npy|json)(\.tmp)?")
_CHUNK_BYTES = 2**22
_LOCK_TRIES = 3
_LOCK_PAUSE_SECONDS = 0.002


@dataclass(frozen=True)
class StoreFiles:
    """The files of the store `key` in `folder`."""

    folder: Path
    key: str

    @property
    def pixels(self) -> Path:
        return self.folder / f"{self.key}.npy"

    @property
    def prints(self) -> Path:
        return self.folder / f"{self.key}.prints.npy"

    @property
    def twins(self) -> Path:
        return self.folder / f"{self.key}.twins.npy"

    @property
    def meta(self) -> Path:
        return self.folder / f"{self.key}.json"

    @property
    def lock(self) -> Path:
        return self.folder / f"{self.key}.lock"

    @property
    def whole(self) -> tuple[Path, ...]:
        """What makes up the store, in the order in which to remove it."""
        return self.meta, self.pixels, self.prints, self.twins

    @property
    def unfinished(self) -> tuple[Path, ...]:
        """What a builder writes before it is put in place."""
        return tuple(path.with_name(path.name + ".tmp") for path in self.whole)


def stores_in(folder: Path) -> Iterator[StoreFiles]:
    """Every store of which any file is there; files that are not the cache's are passed over."""
    try:
        names = [entry.name for entry in os.scandir(folder)]
    except (FileNotFoundError, NotADirectoryError):
        return
    keys = {match[1] for name in names if (match := _OURS.fullmatch(name))}
    for key in sorted(keys):
        yield StoreFiles(folder, key)


@functools.cache
def header(rows: int, resize: int) -> bytes:
    """The .npy header; padded by numpy to the same length for all smaller numbers of rows."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": (rows, resize, resize, 3)}
    )
    return file.getvalue()


def row_offset(row: int, rows: int, resize: int) -> int:
    """Where image `row` of `rows` begins in the pixel file."""
    return len(header(rows, resize)) + row * resize * resize * 3


def map_pixels(path: Path, meta: StoreMeta) -> UInt8Array | None:
    """uint8 [m, resize, resize, 3], read-only; None if the file is gone or of another size.

    As long as the mapping lives, in this process or one forked from it, the file is locked as in
    use: a mapping holds a duplicate of the descriptor, and with it the shared lock.
    """
    start = row_offset(0, meta.images, meta.resize)
    try:
        with open_regular(path) as file:
            _lock_shared(file.fileno())
            status = os.fstat(file.fileno())
            if status.st_nlink == 0 or status.st_size != meta.file_bytes:
                return None
            if crc32(file.read(start)) != meta.header_checksum:
                return None
            shape = (meta.images, meta.resize, meta.resize, 3)
            return np.memmap(file, np.uint8, "r", start, shape)
    except (OSError, ValueError):
        return None


def read_twins(path: Path, meta: StoreMeta) -> Int64Array | None:
    """int64 [m], None if the file is gone or damaged."""
    twins: Int64Array | None = _array(path, meta.twins_checksum)
    return twins if twins is not None and twins.shape == (meta.images,) else None


def read_prints(path: Path, meta: StoreMeta) -> UInt8Array | None:
    """uint8 [m, FINGERPRINT_BYTES], None if the file is gone or damaged."""
    prints: UInt8Array | None = _array(path, meta.prints_checksum)
    shape = (meta.images, FINGERPRINT_BYTES)
    return prints if prints is not None and prints.shape == shape else None


def prints_whole(path: Path, meta: StoreMeta) -> bool:
    """Whether the fingerprints are as they were written; nothing of them is kept in memory."""
    checksum = 0
    try:
        with open_regular(path) as file:
            while chunk := file.read(_CHUNK_BYTES):
                checksum = crc32(chunk, checksum)
    except OSError:
        return False
    return checksum == meta.prints_checksum


def array_content(array: Int64Array | UInt8Array) -> bytes:
    """The file of near-duplicates, or of fingerprints."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _array(path: Path, checksum: int) -> Any:
    try:
        content = read_regular(path)
        if crc32(content) != checksum:
            return None
        return np.load(io.BytesIO(content), allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None


def in_use(path: Path) -> bool:
    """Whether any process has the pixel file mapped; True, too, where that cannot be told.

    What is no file, such as a pipe, cannot be mapped.
    """
    if not path.is_file():
        return False
    lock = hold_unused(path)
    if lock is None:
        return path.exists()
    os.close(lock)
    return False


def hold_unused(path: Path) -> int | None:
    """A descriptor that holds the pixel file for removal, None while it is in use or gone."""
    try:
        file = descriptor_of(path, os.O_RDWR if os.access(path, os.W_OK) else os.O_RDONLY)
    except OSError:
        return None
    for _ in range(_LOCK_TRIES):  # another process may be looking, too, for a moment
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except OSError:
            time.sleep(_LOCK_PAUSE_SECONDS)
    os.close(file)
    return None


def _lock_shared(file: int) -> None:
    """Waits only for as long as another process looks whether the file is in use."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EBADF):
            raise
