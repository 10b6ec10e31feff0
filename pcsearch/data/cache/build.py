"""Decoding and resizing all images of a source into one .npy file, in parallel.

Threads, not processes: Pillow decodes and resizes without the interpreter lock, so they scale
as well, start at once and need no importable main module.
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

from pcsearch.data.cache.blocks import checksums_of, rows_per_block
from pcsearch.data.cache.disk import write_at
from pcsearch.data.cache.layout import header, row_offset
from pcsearch.data.cache.resizing import Aspect, resized
from pcsearch.data.dataset import ImageSource, UInt8Array
from pcsearch.data.duplicates import FINGERPRINT_BYTES, fingerprint

_SYNC_SECONDS = 0.5


@dataclass(frozen=True)
class BadImage:
    """An image of the source that cannot be read."""

    index: int
    reason: str


@dataclass(frozen=True)
class Written:
    """What is known of a new pixel file.

    Attributes:
        bad: the images that could not be read, by index.
        fingerprints: uint8 [m, FINGERPRINT_BYTES] of the m images written.
        block_rows: images a block.
        block_checksums: CRC-32 of each block.
        header_checksum: CRC-32 of the header.
    """

    bad: tuple[BadImage, ...]
    fingerprints: UInt8Array
    block_rows: int
    block_checksums: tuple[int, ...]
    header_checksum: int


@dataclass(frozen=True)
class _Job:
    """What every decoding thread needs; `fingerprints` [n, FINGERPRINT_BYTES] is filled by them."""

    images: ImageSource
    resize: int
    aspect: Aspect
    file: int
    block_rows: int
    fingerprints: UInt8Array


def write_pixels(
    images: ImageSource,
    resize: int,
    aspect: Aspect,
    path: Path,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> Written:
    """Write uint8 [m, resize, resize, 3] to a new .npy file; unreadable images are left out.

    The file is synced to disk. Raises OSError when it cannot be written.
    """
    rows = len(images)
    block_rows = rows_per_block(rows, resize, workers)
    fingerprints = np.zeros((rows, FINGERPRINT_BYTES), dtype=np.uint8)
    path.unlink(missing_ok=True)  # what others left there may be a link or a pipe
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        job = _Job(images, resize, aspect, file, block_rows, fingerprints)
        with _written_back_meanwhile(file), _without_warnings():
            checksums, bad = _decode_all(job, workers, progress)
        kept = rows - len(bad)
        if bad:
            gaps = [image.index for image in bad]
            _close_gaps(file, rows, resize, set(gaps))
            fingerprints = np.delete(fingerprints, gaps, axis=0)
            checksums = checksums_of(path, kept, resize, block_rows)
        write_at(file, memoryview(header(kept, resize)), 0)
        os.fsync(file)
    finally:
        os.close(file)
    return Written(bad, fingerprints, block_rows, checksums, crc32(header(kept, resize)))


def stored_image(images: ImageSource, index: int, resize: int, aspect: Aspect) -> Image.Image:
    """What a store holds of image `index`; OSError, with the reason, if that cannot be had."""
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
    """Decode and write one block. Its checksum is of no use if it has bad images."""
    bad: list[BadImage] = []
    checksum, side, rows = 0, job.resize, len(job.images)
    first = block * job.block_rows
    for index in range(first, min(first + job.block_rows, rows)):
        try:
            image = stored_image(job.images, index, side, job.aspect)
        except OSError as error:
            bad.append(BadImage(index, str(error)))
            continue
        row = image.tobytes()
        checksum = crc32(row, checksum)
        pixels = np.frombuffer(row, dtype=np.uint8).reshape(side, side, 3)
        job.fingerprints[index] = fingerprint(pixels)
        write_at(job.file, memoryview(row), row_offset(index, rows, side))
    return checksum, bad


@contextmanager
def _written_back_meanwhile(file: int) -> Iterator[None]:
    """Have the disk write what is there while the rest is decoded: the last sync is short then."""
    over = threading.Event()
    failures: list[OSError] = []

    def write_back() -> None:
        while not over.wait(_SYNC_SECONDS):
            try:
                os.fsync(file)
            except OSError as error:  # told once: the last sync would know nothing of it
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
    """Pillow warns of oddities (broken EXIF data, many pixels) once a file: thousands of lines."""
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
