"""Decode and resize all images of a source into one .npy file, in parallel, with checksums.

Checksums are CRC-32 by zlib: it detects every single damaged byte, is fast and releases the
interpreter lock.

Decoding uses threads, not processes. Pillow decodes and resizes without the interpreter lock, so
threads scale as well. They also start at once and need no importable main module.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
from PIL import Image

from pcsearch.data.cache.files import header, row_offset, write_at
from pcsearch.data.cache.metadata import Aspect, StoreMeta, resized
from pcsearch.data.dataset import ImageSource, UInt8Array
from pcsearch.data.decode import values_of
from pcsearch.data.duplicates import FINGERPRINT_BYTES, fingerprint
from pcsearch.data.pixel_range import PixelRange
from pcsearch.io import descriptor_of

_BLOCK_BYTES = 4 * 2**20  # of pixels; a thread needs this memory while it decodes or checks
_BLOCK_AT_MOST_ROWS = 64
_CHECKED_BYTES = 2 * 10**9


def rows_per_block(rows: int, resize: int, workers: int) -> int:
    """Images in a block: a few MB, but small enough to give each worker several blocks."""
    by_bytes = _BLOCK_BYTES // (resize * resize * 3)
    by_workers = -(-rows // (4 * workers))
    return max(1, min(_BLOCK_AT_MOST_ROWS, by_bytes, by_workers))


def _checksums_of(path: Path, rows: int, resize: int, block_rows: int) -> tuple[int, ...]:
    """The checksum of every block of a pixel file."""
    blocks = range(-(-rows // block_rows))
    file = descriptor_of(path)
    try:
        buffer = bytearray(block_rows * resize * resize * 3)
        return tuple(_checksum(file, i, rows, resize, block_rows, buffer) for i in blocks)
    finally:
        os.close(file)


def blocks_whole(
    path: Path, meta: StoreMeta, workers: int, at_most_bytes: int | None = _CHECKED_BYTES
) -> bool:
    """Whether the blocks of a pixel file are undamaged.

    Args:
        path: the pixel file.
        meta: its metadata.
        workers: threads that read and check.
        at_most_bytes: check only about this many bytes of a larger file, in evenly spaced blocks;
            None: check all.
    """
    count = len(meta.block_checksums)
    if at_most_bytes is not None and meta.file_bytes > at_most_bytes:
        fewer = max(2, count * at_most_bytes // meta.file_bytes)
        chosen = np.unique(np.linspace(0, count - 1, min(count, fewer)).astype(np.int64)).tolist()
    else:
        chosen = list(range(count))
    try:
        file = descriptor_of(path)
    except OSError:
        return False
    try:
        parts = [part.tolist() for part in np.array_split(chosen, min(workers, len(chosen)))]
        with ThreadPoolExecutor(len(parts), thread_name_prefix="check") as pool:
            return all(pool.map(lambda part: _part_whole(file, part, meta), parts))
    finally:
        os.close(file)


def _part_whole(file: int, blocks: list[int], meta: StoreMeta) -> bool:
    buffer = bytearray(meta.block_rows * meta.resize * meta.resize * 3)
    try:
        return all(
            _checksum(file, block, meta.images, meta.resize, meta.block_rows, buffer)
            == meta.block_checksums[block]
            for block in blocks
        )
    except OSError:  # the disk cannot read the block
        return False


def _checksum(
    file: int, block: int, rows: int, resize: int, block_rows: int, buffer: bytearray
) -> int:
    row_bytes = resize * resize * 3
    first = block * block_rows
    wanted = min(block_rows, rows - first) * row_bytes
    view, offset, done = memoryview(buffer), row_offset(first, rows, resize), 0
    while done < wanted:
        read = os.preadv(file, [view[done:wanted]], offset + done)
        if read == 0:
            raise OSError("the file is shorter than it was")
        done += read
    return crc32(view[:wanted])


_SYNC_SECONDS = 0.5


@dataclass(frozen=True)
class BadImage:
    """An image of the source that cannot be read."""

    index: int
    reason: str


@dataclass(frozen=True)
class Written:
    """Facts about a new pixel file.

    Attributes:
        bad: the images that could not be read, by index.
        ranges: index and stored values of each image of more than 8 bits.
        fingerprints: uint8 [m, FINGERPRINT_BYTES] of the m images written.
        block_rows: images in a block.
        block_checksums: CRC-32 of each block.
        header_checksum: CRC-32 of the header.
    """

    bad: tuple[BadImage, ...]
    ranges: tuple[tuple[int, PixelRange], ...]
    fingerprints: UInt8Array
    block_rows: int
    block_checksums: tuple[int, ...]
    header_checksum: int


@dataclass(frozen=True)
class _Job:
    """Arguments of the decoding threads. They fill `fingerprints` [n, FINGERPRINT_BYTES], and
    `ranges` for images of more than 8 bits."""

    images: ImageSource
    resize: int
    aspect: Aspect
    file: int
    block_rows: int
    fingerprints: UInt8Array
    ranges: dict[int, PixelRange]


def write_pixels(
    images: ImageSource,
    resize: int,
    aspect: Aspect,
    path: Path,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> Written:
    """Write uint8 [m, resize, resize, 3] to a new .npy file, without unreadable images.

    The file is synced to disk.

    Raises:
        OSError: the file cannot be written.
    """
    rows = len(images)
    block_rows = rows_per_block(rows, resize, workers)
    fingerprints = np.zeros((rows, FINGERPRINT_BYTES), dtype=np.uint8)
    path.unlink(missing_ok=True)  # an existing file may be a link or a pipe
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        job = _Job(images, resize, aspect, file, block_rows, fingerprints, {})
        with _written_back_meanwhile(file), _without_warnings():
            checksums, bad = _decode_all(job, workers, progress)
        kept = rows - len(bad)
        if bad:
            gaps = [image.index for image in bad]
            _close_gaps(file, rows, resize, set(gaps))
            fingerprints = np.delete(fingerprints, gaps, axis=0)
            checksums = _checksums_of(path, kept, resize, block_rows)
        write_at(file, memoryview(header(kept, resize)), 0)
        os.fsync(file)
    finally:
        os.close(file)
    ranges = tuple(sorted(job.ranges.items(), key=lambda item: item[0]))
    return Written(bad, ranges, fingerprints, block_rows, checksums, crc32(header(kept, resize)))


def stored_image(images: ImageSource, index: int, resize: int, aspect: Aspect) -> Image.Image:
    """Image `index` as a store holds it; OSError, with the reason, if it cannot be read."""
    return resized(images.image(index), resize, aspect)


def _decode_all(
    job: _Job, workers: int, progress: Callable[[int, int], None] | None
) -> tuple[tuple[int, ...], tuple[BadImage, ...]]:
    Image.init()  # loading the plugins is not safe in several threads at once
    rows = len(job.images)
    checksums = [0] * -(-rows // job.block_rows)
    bad: list[BadImage] = []
    done = 0
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        blocks = {pool.submit(_decode_block, job, i): i for i in range(len(checksums))}
        for block in as_completed(blocks):
            checksums[blocks[block]], unreadable = block.result()
            bad += unreadable
            done += min(job.block_rows, rows - blocks[block] * job.block_rows)
            if progress is not None:
                progress(done, rows)
    finally:
        pool.shutdown(cancel_futures=True)
    return tuple(checksums), tuple(sorted(bad, key=lambda image: image.index))


def _decode_block(job: _Job, block: int) -> tuple[int, list[BadImage]]:
    """Decode and write one block. Its checksum is invalid if it has bad images."""
    bad: list[BadImage] = []
    checksum, side, rows = 0, job.resize, len(job.images)
    first = block * job.block_rows
    for index in range(first, min(first + job.block_rows, rows)):
        try:
            image = stored_image(job.images, index, side, job.aspect)
        except OSError as error:
            bad.append(BadImage(index, str(error)))
            continue
        if (values := values_of(image)) is not None:
            job.ranges[index] = values
        row = image.tobytes()
        checksum = crc32(row, checksum)
        pixels = np.frombuffer(row, dtype=np.uint8).reshape(side, side, 3)
        job.fingerprints[index] = fingerprint(pixels)
        write_at(job.file, memoryview(row), row_offset(index, rows, side))
    return checksum, bad


@contextmanager
def _written_back_meanwhile(file: int) -> Iterator[None]:
    """Sync to disk repeatedly while images are decoded, so that the last sync is short."""
    over = threading.Event()
    failures: list[OSError] = []

    def write_back() -> None:
        while not over.wait(_SYNC_SECONDS):
            try:
                os.fsync(file)
            except OSError as error:  # reported once: a later sync would succeed
                failures.append(error)
                return

    thread = threading.Thread(target=write_back, name="write-back", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if failures:
        raise failures[0]


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Silence Pillow's warnings (broken EXIF data, many pixels): they come once a file."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def _close_gaps(file: int, rows: int, resize: int, gaps: set[int]) -> None:
    target = 0
    row_bytes = resize * resize * 3
    for index in range(rows):
        if index in gaps:
            continue
        if target < index:
            pixels = os.pread(file, row_bytes, row_offset(index, rows, resize))
            write_at(file, memoryview(pixels), row_offset(target, rows, resize))
        target += 1
    os.ftruncate(file, row_offset(target, rows, resize))
