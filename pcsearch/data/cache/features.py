"""Features of a store's images, computed once: float32 in one memory-mapped file beside the pixels.

A file belongs to its store: it counts to its size and goes with it. Its name holds a key of all
that changes the features. It is an .npy file with a checksum (CRC-32) behind the array.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO
from zlib import crc32

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from pcsearch.data.cache.eviction import make_room
from pcsearch.data.cache.files import StoreFiles, disk_errors, readable_bytes, replace_all
from pcsearch.data.cache.store import ImageStore
from pcsearch.errors import UserError
from pcsearch.io import create_anew, open_regular

FeatureArray = npt.NDArray[np.float32]

_MEMORY_SHARE = 0.5
"""Features that take more of the machine's memory are refused: an epoch reads all of them."""

_CHUNK_BYTES = 2**22
_CHECKSUM = struct.Struct("<I")


def ensure_features(
    store: ImageStore,
    key: str,
    views: int,
    compute: Callable[[], Iterator[FeatureArray]],
    whose: str,
) -> FeatureArray:
    """The features of every image of a store, computed now unless they are in the cache.

    One process computes, others wait. A damaged file is computed again. While the array exists in
    a process, the store is not evicted if that process has its images mapped, too.

    Args:
        store: the images.
        key: 32 hexadecimal digits, for all but the images that changes the features.
        views: V, the views of each image.
        compute: gives float32 [b, ...], first of all images in the first view, and so on.
        whose: what the features are of, for messages.

    Returns:
        Memory-mapped float32 [V, m, ...], read-only.

    Raises:
        UserError: the features are too large for the memory or the disk, or are not finite.
    """
    files = StoreFiles(store.path.parent, store.path.stem)
    path = files.folder / f"{files.key}.{key}.features.npy"
    rows = views, len(store.images)
    found = _open(path, rows)
    if found is None:
        with FileLock(files.lock):
            found = _open(path, rows)
            if found is None:
                _write(files, path, rows, compute(), whose)
                found = _open(path, rows)
    if found is None:
        raise UserError(
            f"the features {path} were damaged right after they were written. Check the disk, or "
            "set PCSEARCH_CACHE to a folder on another one."
        )
    return found


def _write(
    files: StoreFiles,
    path: Path,
    rows: tuple[int, int],
    parts: Iterator[FeatureArray],
    whose: str,
) -> None:
    first = next(parts)
    shape = (*rows, *first.shape[1:])
    size = int(np.prod(shape)) * first.itemsize
    _check_memory(size, first, whose)
    unfinished = path.with_name(path.name + ".tmp")
    with disk_errors(files.folder, size):
        make_room(files, size)
        try:
            with create_anew(unfinished) as file:
                np.lib.format.write_array_header_1_0(
                    file, {"descr": "<f4", "fortran_order": False, "shape": shape}
                )
                written = _write_parts(file, first, parts, whose)
                file.flush()
                os.fsync(file.fileno())
            if written != size:
                raise ValueError(f"{written} bytes of features for {shape}, not {size}")
            replace_all({unfinished: path})
        finally:
            unfinished.unlink(missing_ok=True)


def _write_parts(
    file: BinaryIO, first: FeatureArray, parts: Iterator[FeatureArray], whose: str
) -> int:
    """Write the array and its checksum; the array's bytes."""
    checksum = written = 0
    part: FeatureArray | None = first
    while part is not None:
        if not np.isfinite(part).all():
            raise UserError(
                f"the features of {whose} are not finite: its weights are broken, or train.amp is "
                "too coarse for them; use other weights, or train.amp=false"
            )
        content = np.ascontiguousarray(part, dtype="<f4").tobytes()
        checksum = crc32(content, checksum)
        written += file.write(content)
        part = next(parts, None)
    file.write(_CHECKSUM.pack(checksum))
    return written


def _check_memory(size: int, first: FeatureArray, whose: str) -> None:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > _MEMORY_SHARE * memory:
        raise UserError(
            f"the features of {whose} are {' x '.join(map(str, first.shape[1:]))} numbers a view, "
            f"{readable_bytes(size)} in all, more than half of this machine's memory "
            f"({readable_bytes(memory)}): take a smaller image.crop, fewer data.classes, "
            "image.flip=false or another backbone"
        )


def _open(path: Path, rows: tuple[int, int]) -> FeatureArray | None:
    """The features in a file; None if it is missing, damaged or of other images."""
    try:
        with open_regular(path) as file:
            if np.lib.format.read_magic(file) != (1, 0):
                return None
            shape, fortran, kind = np.lib.format.read_array_header_1_0(file)
            start, size = file.tell(), os.fstat(file.fileno()).st_size
            expected = 4
            for length in shape:
                expected *= length  # Python's own numbers, which do not overflow
            wrong = fortran or kind != np.dtype("<f4") or tuple(shape[:2]) != rows
            if wrong or size != start + expected + _CHECKSUM.size:
                return None
            if not _is_whole(file, expected):
                return None
            return np.memmap(file, np.float32, "r", start, tuple(shape))
    except (OSError, ValueError):
        return None


def _is_whole(file: Any, size: int) -> bool:
    checksum = 0
    while size and (chunk := file.read(min(_CHUNK_BYTES, size))):
        checksum = crc32(chunk, checksum)
        size -= len(chunk)
    return size == 0 and file.read() == _CHECKSUM.pack(checksum)
