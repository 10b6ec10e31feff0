"""How a store lies on disk, how it is written, and how its pixels are mapped.

A store is four files named by the store's key: KEY.npy (the pixels), KEY.prints.npy (their
fingerprints), KEY.twins.npy (the clusters of near-duplicates) and, put in place last, KEY.json
(what they are). KEY.lock is held by whoever builds or removes it; files that end in .tmp are a
builder's.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import io
import mmap
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from pcsearch.data.cache.metadata import StoreMeta
from pcsearch.data.dataset import Int64Array, UInt8Array
from pcsearch.data.duplicates import FINGERPRINT_BYTES
from pcsearch.errors import PcsearchError, UserError
from pcsearch.io import create_anew, descriptor_of, open_regular, read_regular

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def disk_errors(folder: Path, needed_bytes: int) -> Iterator[None]:
    """Turn what the file system refuses while writing to `folder` into a UserError."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise no_room(folder, needed_bytes, quota=error.errno == errno.EDQUOT) from error
        raise UserError(
            f"the image cache cannot be written in {folder}: {error.strerror or error}. "
            "Make that folder writable or set PCSEARCH_CACHE to another one."
        ) from error


def no_room(folder: Path, needed_bytes: int, quota: bool = False) -> UserError:
    """The error that says how much room is needed in `folder` and how much there is."""
    free_bytes = shutil.disk_usage(folder).free if folder.is_dir() else 0
    free = "more than your disk quota allows" if quota else f"{readable_bytes(free_bytes)} free"
    return UserError(
        f"not enough room in {folder} for the image cache: {readable_bytes(needed_bytes)} needed, "
        f"{free}. Free some, lower image.resize, or set PCSEARCH_CACHE to a folder on another disk."
    )


def write_at(file: int, data: memoryview, offset: int) -> None:
    """Write all of `data` at `offset`; a nearly full disk accepts parts before it refuses."""
    while len(data):
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written


def write_synced(path: Path, data: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with create_anew(path) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_all(moves: Mapping[Path, Path]) -> None:
    """Rename files within one folder, in order, and wait until the disk has the new names."""
    for source, target in moves.items():
        source.replace(target)
    folder = os.open(next(iter(moves.values())).parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def readable_bytes(number: int) -> str:
    """Bytes as people read them, and exactly."""
    return f"{number / 1e6:,.1f} MB ({number:,} bytes)"


class ImagesChangedError(PcsearchError):
    """Decoded images changed on disk below a process that reads them.

    What it read last may be wrong; a process that opens them anew finds them whole, or decodes them
    again. So a training that fails with this is begun again in a new one.
    """


class MappedFile:
    """The file below an array, as it was when this was made; an array without one never changes.

    Reading beyond the end of a file that was cut short ends the process (SIGBUS), and one that is
    written over has other pixels without a sign. A file that was removed, or replaced by another,
    stays as it is for those that have mapped it.
    """

    def __init__(self, images: UInt8Array) -> None:
        self._mapping = _mapping(images)
        name = images.filename if isinstance(images, np.memmap) else None
        self._path = None if name is None or self._mapping is None else Path(name)
        self._bytes = 0 if self._mapping is None else self._mapping.size()
        self._status = self._look()

    @property
    def changed(self) -> bool:
        """Whether the file was cut short or written over; looks at sizes and times alone."""
        if self._cut_short():
            return True
        now = self._look()
        if now is None or self._status is None:
            return False
        same_file = now[:2] == self._status[:2]
        return same_file and now != self._status

    def check_length(self) -> None:
        """Raise ImagesChangedError if the file was cut short; takes a microsecond."""
        if self._cut_short():
            raise self._error()

    def check(self) -> None:
        """Raise ImagesChangedError if the file has changed."""
        if self.changed:
            raise self._error()

    def _cut_short(self) -> bool:
        try:
            return self._mapping is not None and self._mapping.size() < self._bytes
        except OSError:  # a file on another machine, which has removed it
            return True

    def _look(self) -> tuple[int, ...] | None:
        """Device, inode, size and time of the file that has the name now."""
        if self._path is None:
            return None
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns

    def _error(self) -> ImagesChangedError:
        return ImagesChangedError(
            f"the decoded images {self._path} were cut short or written over while a training read "
            "them; when they are opened next, they are decoded again"
        )


def _mapping(images: UInt8Array) -> mmap.mmap | None:
    """The mapping that an array, or what it is a view of, lies in."""
    below: object = images
    while isinstance(below, np.ndarray):
        below = below.base
    return below if isinstance(below, mmap.mmap) else None


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
