"""Decoding and resizing all images of a source into one .npy file, in parallel.

Threads, not processes: Pillow decodes and resizes without the interpreter lock, so they scale
as well, start at once and need no importable main module.
"""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pcsearch.data.dataset import ImageSource, UInt8Array
from pcsearch.data.disk import write_at

_CHUNK_IMAGES = 16


@dataclass(frozen=True)
class BadImage:
    """An image of the source that cannot be read."""

    index: int
    reason: str


def write_pixels(
    images: ImageSource,
    resize: int,
    path: Path,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> list[BadImage]:
    """Write uint8 [m, resize, resize, 3] to a new .npy file; unreadable images are left out.

    Returns the unreadable images by index. The file is synced to disk. Raises OSError when
    it cannot be written.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        bad = _decode_all(images, resize, file, workers, progress)
        kept = len(images) - len(bad)
        if bad:
            _close_gaps(file, len(images), resize, {image.index for image in bad})
        write_at(file, memoryview(_header(kept, resize)), 0)
        os.fsync(file)
    finally:
        os.close(file)
    return bad


def resized_pixels(image: Image.Image, resize: int) -> UInt8Array:
    """An RGB image warped to uint8 [resize, resize, 3], as torchvision's Resize does."""
    return np.asarray(image.resize((resize, resize), Image.Resampling.BILINEAR))


def _decode_all(
    images: ImageSource,
    resize: int,
    file: int,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> list[BadImage]:
    Image.init()  # loading the plugins is not safe in several threads at once
    bad: list[BadImage] = []
    done = 0
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        chunks = [
            pool.submit(_decode_chunk, images, start, resize, file)
            for start in range(0, len(images), _CHUNK_IMAGES)
        ]
        for chunk in as_completed(chunks):
            count, unreadable = chunk.result()
            bad += unreadable
            done += count
            if progress is not None:
                progress(done, len(images))
    finally:
        pool.shutdown(cancel_futures=True)
    return sorted(bad, key=lambda image: image.index)


def _decode_chunk(
    images: ImageSource, start: int, resize: int, file: int
) -> tuple[int, list[BadImage]]:
    bad: list[BadImage] = []
    stop = min(start + _CHUNK_IMAGES, len(images))
    for index in range(start, stop):
        try:
            image = images.image(index)
        except OSError as error:
            bad.append(BadImage(index, str(error)))
            continue
        pixels = np.ascontiguousarray(resized_pixels(image, resize))
        write_at(file, pixels.data.cast("B"), _offset(index, len(images), resize))
    return stop - start, bad


def _close_gaps(file: int, rows: int, resize: int, gaps: set[int]) -> None:
    target = 0
    row_bytes = resize * resize * 3
    for index in range(rows):
        if index in gaps:
            continue
        if target < index:
            pixels = os.pread(file, row_bytes, _offset(index, rows, resize))
            write_at(file, memoryview(pixels), _offset(target, rows, resize))
        target += 1
    os.ftruncate(file, _offset(target, rows, resize))


def _offset(row: int, rows: int, resize: int) -> int:
    return len(_header(rows, resize)) + row * resize * resize * 3


@functools.cache
def _header(rows: int, resize: int) -> bytes:
    """The .npy header; padded by numpy to the same length for all smaller numbers of rows."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (rows, resize, resize, 3)}
    )
    return header.getvalue()
