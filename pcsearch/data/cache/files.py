"""A store's files: their names, how they are written, and how the pixels are mapped.

| file | content |
| --- | --- |
| KEY.npy | the pixels |
| KEY.prints.npy | their fingerprints |
| KEY.twins.npy | the clusters of near-duplicates |
| KEY.json | the metadata; it is put in place last |
| KEY.FEATURES.features.npy | features of a frozen body, see `features` |
| KEY.lock | held by the process that builds or removes the store |
| *.tmp | files of an unfinished build |
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
import numpy.typing as npt

from pcsearch.data.cache.metadata import StoreMeta
from pcsearch.data.dataset import Int64Array, UInt8Array
from pcsearch.data.duplicates import FINGERPRINT_BYTES
from pcsearch.errors import PcsearchError, UserError
from pcsearch.io import NO_HOME, create_anew, descriptor_of, open_regular, read_regular

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def disk_errors(folder: Path, needed_bytes: int) -> Iterator[None]:
    """Turn file system errors while writing to `folder` into a UserError."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise no_room(folder, needed_bytes, quota=error.errno == errno.EDQUOT) from error
        if NO_HOME in folder.parents:
            raise UserError(
                "the image cache has no place: HOME is not set and this user has no home folder. "
                "Set PCSEARCH_CACHE to a folder of yours."
            ) from error
        raise UserError(
            f"the image cache cannot be written in {folder}: {error.strerror or error}. "
            "Make that folder writable or set PCSEARCH_CACHE to another one."
        ) from error


def no_room(folder: Path, needed_bytes: int, quota: bool = False) -> UserError:
    """The error that states the needed and the free space in `folder`."""
    free_bytes = shutil.disk_usage(folder).free if folder.is_dir() else 0
    free = "more than your disk quota allows" if quota else f"{readable_bytes(free_bytes)} free"
    return UserError(
        f"not enough room in {folder} for the image cache: {readable_bytes(needed_bytes)} needed, "
        f"{free}. Free space, lower image.resize, or set PCSEARCH_CACHE to a folder on another "
        "disk."
    )


def write_at(file: int, data: memoryview, offset: int) -> None:
    """Write all of `data` at `offset`. A nearly full disk may accept only a part of each write."""
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
    """Bytes in MB and exactly."""
    return f"{number / 1e6:,.1f} MB ({number:,} bytes)"


class ImagesChangedError(PcsearchError):
    """Decoded images changed on disk while a process was reading them.

    The last pixels that it read may be wrong. A process that opens the images again finds them
    whole or decodes them again. So a training that fails with this is restarted in a new process.
    """


class MappedFile:
    """The state of a memory-mapped array's file at creation, to detect changes of the file.

    Reading beyond the end of a truncated file kills the process (SIGBUS). A file that is written
    over changes the pixels without notice. A file that was removed or replaced is no problem: the
    mapping keeps the old content. An array without a file never changes.
    """

    def __init__(self, images: npt.NDArray[Any]) -> None:
        self._mapping = _mapping(images)
        name = images.filename if isinstance(images, np.memmap) else None
        self._path = None if name is None or self._mapping is None else Path(name)
        self._bytes = 0 if self._mapping is None else self._mapping.size()
        self._status = self._look()

    @property
    def changed(self) -> bool:
        """Whether the file was truncated or written over, judged by size and time alone."""
        if self._cut_short():
            return True
        now = self._look()
        if now is None or self._status is None:
            return False
        same_file = now[:2] == self._status[:2]
        return same_file and now != self._status

    def check_length(self) -> None:
        """Raise ImagesChangedError if the file was truncated; takes a microsecond."""
        if self._cut_short():
            raise self._error()

    def check(self) -> None:
        """Raise ImagesChangedError if the file has changed."""
        if self.changed:
            raise self._error()

    def _cut_short(self) -> bool:
        try:
            return self._mapping is not None and self._mapping.size() < self._bytes
        except OSError:  # a file on a network file system that was removed there
            return True

    def _look(self) -> tuple[int, ...] | None:
        """Device, inode, size and time of the file that has this path now."""
        if self._path is None:
            return None
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns

    def _error(self) -> ImagesChangedError:
        return ImagesChangedError(
            f"the decoded images {self._path} were truncated or overwritten while a training read "
            "them. The next training decodes them again. Keep other programs out of the image cache"
        )


def _mapping(images: npt.NDArray[Any]) -> mmap.mmap | None:
    """The memory mapping under an array or under the arrays of which it is a view."""
    below: object = images
    while isinstance(below, np.ndarray):
        below = below.base
    return below if isinstance(below, mmap.mmap) else None


_OURS = re.compile(
    r"([0-9a-f]{32})\.(npy|prints\.npy|twins\.npy|json|[0-9a-f]{32}\.features\.npy)(\.tmp)?"
)
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
        """The store's files, in the order in which to remove them."""
        return self.meta, self.pixels, self.prints, self.twins

    @property
    def features(self) -> tuple[Path, ...]:
        """The files of features of its images, finished or not."""
        return tuple(sorted(self.folder.glob(f"{self.key}.*.features.npy*")))

    @property
    def unfinished(self) -> tuple[Path, ...]:
        """The names of these files while a builder writes them."""
        return tuple(path.with_name(path.name + ".tmp") for path in self.whole)


def stores_in(folder: Path) -> Iterator[StoreFiles]:
    """Every store with at least one file in `folder`. Other files are ignored."""
    try:
        names = [entry.name for entry in os.scandir(folder)]
    except (FileNotFoundError, NotADirectoryError):
        return
    keys = {match[1] for name in names if (match := _OURS.fullmatch(name))}
    for key in sorted(keys):
        yield StoreFiles(folder, key)


@functools.cache
def header(rows: int, resize: int) -> bytes:
    """The .npy header. Numpy pads it, so fewer rows give the same length."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": (rows, resize, resize, 3)}
    )
    return file.getvalue()


def row_offset(row: int, rows: int, resize: int) -> int:
    """Offset of image `row` of `rows` in the pixel file, in bytes."""
    return len(header(rows, resize)) + row * resize * resize * 3


def map_pixels(path: Path, meta: StoreMeta) -> UInt8Array | None:
    """uint8 [m, resize, resize, 3], read-only; None if the file is gone or has another size.

    The mapping holds a duplicate of the descriptor, and with it a shared lock. So the file counts
    as in use as long as the mapping exists, in this process or one forked from it.
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
    """int64 [m]; None if the file is gone or damaged."""
    twins: Int64Array | None = _array(path, meta.twins_checksum)
    return twins if twins is not None and twins.shape == (meta.images,) else None


def read_prints(path: Path, meta: StoreMeta) -> UInt8Array | None:
    """uint8 [m, FINGERPRINT_BYTES]; None if the file is gone or damaged."""
    prints: UInt8Array | None = _array(path, meta.prints_checksum)
    shape = (meta.images, FINGERPRINT_BYTES)
    return prints if prints is not None and prints.shape == shape else None


def prints_whole(path: Path, meta: StoreMeta) -> bool:
    """Whether the file of fingerprints is undamaged. It is read in chunks to save memory."""
    checksum = 0
    try:
        with open_regular(path) as file:
            while chunk := file.read(_CHUNK_BYTES):
                checksum = crc32(chunk, checksum)
    except OSError:
        return False
    return checksum == meta.prints_checksum


def array_content(array: Int64Array | UInt8Array) -> bytes:
    """The content of the file of near-duplicates or of fingerprints."""
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
    """Whether any process has the pixel file mapped; also True if that is unknown.

    False for anything but a regular file, such as a pipe: it cannot be mapped.
    """
    if not path.is_file():
        return False
    lock = hold_unused(path)
    if lock is None:
        return path.exists()
    os.close(lock)
    return False


def hold_unused(path: Path) -> int | None:
    """A descriptor with an exclusive lock on the pixel file; None if it is in use or gone."""
    try:
        file = descriptor_of(path, os.O_RDWR if os.access(path, os.W_OK) else os.O_RDONLY)
    except OSError:
        return None
    for _ in range(_LOCK_TRIES):  # another process may hold the lock briefly, to look as well
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except OSError:
            time.sleep(_LOCK_PAUSE_SECONDS)
    os.close(file)
    return None


def _lock_shared(file: int) -> None:
    """Take a shared lock. It waits only while another process checks whether the file is in use."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EBADF):
            raise
