"""Decode once: every image of a source as uint8 pixels in one memory-mapped file.

All processes of a machine map the same file, so its pixels are in memory once. Stores are found by
the key of their source (see `ImageSource`). A new store may evict the least recently used ones
(see `eviction`), but never one that a process has mapped.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from zlib import crc32

import numpy as np
import PIL
from filelock import FileLock, Timeout

from pcsearch.cpus import usable_cpus
from pcsearch.data.cache.build import blocks_whole, stored_image, write_pixels
from pcsearch.data.cache.eviction import make_room, remove_files, title_of
from pcsearch.data.cache.files import (
    StoreFiles,
    array_content,
    disk_errors,
    map_pixels,
    prints_whole,
    read_prints,
    read_twins,
    replace_all,
    write_synced,
)
from pcsearch.data.cache.metadata import FORMAT, Aspect, StoreMeta, read_meta
from pcsearch.data.dataset import ImageSource, Int64Array, UInt8Array
from pcsearch.data.duplicates import FINGERPRINT_BYTES, near_duplicates
from pcsearch.data.pixel_range import range_fault
from pcsearch.errors import UserError
from pcsearch.printable import printable

OnBadImage = Literal["fail", "skip"]
Progress = Callable[[int, int], None]
_NAMED_AT_MOST = 10
_BESIDE_PIXELS_BYTES = 8 + FINGERPRINT_BYTES  # of each image: cluster number and fingerprint


class BadImagesError(UserError):
    """Images of a source cannot be read, or would be decoded wrongly."""


@dataclass(frozen=True)
class ImageStore:
    """Decoded images.

    Attributes:
        path: the .npy file.
        images: uint8 [m, resize, resize, 3], memory-mapped, read-only. The store is not evicted
            while any process holds this array.
        kept: [m] the rows' indices in the source (all of them unless images were skipped).
        bad: the skipped images, each with the reason.
        twins: [m] cluster numbers; rows with equal numbers are near-duplicates.
    """

    path: Path
    images: UInt8Array
    kept: Int64Array
    bad: tuple[str, ...]
    twins: Int64Array


def ensure_store(
    images: ImageSource,
    resize: int,
    *,
    aspect: Aspect = "warp",
    folder: Path,
    on_bad_image: OnBadImage = "fail",
    workers: int | None = None,
    progress: Progress | None = None,
    waiting: Progress | None = None,
) -> ImageStore:
    """The store of these images, built now unless a whole one exists.

    Pixels equal those of torchvision's transforms (see `resized`). One process builds, others wait.
    A crash leaves nothing that looks like a store. Checksums of all pixels are verified (for files
    over 2 GB, of 2 GB spread over the file). A damaged store is built again. So is one that lacks
    an image that is readable now.

    Args:
        images: the images to decode.
        resize: side of the stored images in pixels.
        aspect: `warp` squeezes images to a square, `keep` crops the central square.
        folder: the folder of the stores; created if missing.
        on_bad_image: `fail` raises and names the unreadable images; `skip` leaves them out.
        workers: threads that decode (Pillow releases the interpreter lock); default: all CPUs.
        progress: called from this thread with (images done, number of images).
        waiting: called with (0, number of images) if another process builds the store, and with
            (number of images, number of images) when it has finished.

    Raises:
        BadImagesError: no image is readable, or one is not under `fail`; or see `range_fault`.
        UserError: the disk is too full (the text states needed
            and free space); the store exceeds the user's size limit (see `size_limit_bytes`); or
            the folder is not writable.
    """
    if len(images) == 0:
        raise UserError("there are no images to decode.")
    files = StoreFiles(folder, _store_key(images, resize, aspect))
    workers = workers or usable_cpus()
    store = _open_checked(files, images, workers)
    if store is None:
        needed_bytes = len(images) * (resize * resize * 3 + _BESIDE_PIXELS_BYTES)
        with disk_errors(folder, needed_bytes):
            folder.mkdir(parents=True, exist_ok=True)
            with _alone(files.lock, len(images), waiting):
                _recheck_touched(files, workers)
                store = _open_checked(files, images, workers)
                if store is None:
                    remove_files(files)
                    make_room(files, needed_bytes)
                    _build(images, resize, aspect, files, on_bad_image, workers, progress)
                    store = open_store(files.pixels)
    if store is None:
        raise UserError(
            f"the image cache {files.pixels} was damaged right after it was written. Check the "
            "disk, or set PCSEARCH_CACHE to a folder on another one."
        )
    if store.bad and on_bad_image == "fail":
        raise BadImagesError(_bad_message(store.bad, len(images)))
    return store


def open_store(path: Path) -> ImageStore | None:
    """The store with its pixels at `path`, without its source; None unless it is whole.

    Meant for the many processes that train on a store after `ensure_store` has checked it. It
    checks metadata, sizes and times, not pixels. It marks the store as used.
    """
    files = StoreFiles(path.parent, path.stem)
    meta = read_meta(files.meta)
    if meta is None:
        return None
    images = map_pixels(files.pixels, meta)
    twins = read_twins(files.twins, meta)
    if images is None or twins is None or _mtime_ns(files.pixels) != meta.file_mtime_ns:
        return None
    with contextlib.suppress(OSError):  # the cache may be read-only
        now = time.time_ns()  # more precise than the kernel's default time for utime
        os.utime(files.meta, ns=(now, now))
    everything = np.arange(meta.source_images, dtype=np.int64)
    kept = np.delete(everything, np.asarray(meta.bad_indices, dtype=np.int64))
    return ImageStore(path, images, kept, meta.bad, twins)


def fingerprints_of(store: ImageStore) -> UInt8Array | None:
    """uint8 [m, FINGERPRINT_BYTES], to find near-duplicates across stores; None if damaged."""
    files = StoreFiles(store.path.parent, store.path.stem)
    meta = read_meta(files.meta)
    return None if meta is None else read_prints(files.prints, meta)


def _open_checked(files: StoreFiles, source: ImageSource, workers: int) -> ImageStore | None:
    """The store if its pixels are undamaged and none of its skipped images is readable now.

    A change of permissions, for example, changes neither size nor time, so the key stays.
    """
    store, meta = open_store(files.pixels), read_meta(files.meta)
    if store is None or meta is None or not blocks_whole(files.pixels, meta, workers):
        return None
    if not prints_whole(files.prints, meta):
        return None
    return None if any(_reads(source, index, meta) for index in meta.bad_indices) else store


@contextlib.contextmanager
def _alone(path: Path, images: int, waiting: Progress | None) -> Iterator[None]:
    """Hold a store's lock; `waiting` is called if another process holds it."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if waiting is not None:
            waiting(0, images)
        lock.acquire()
        if waiting is not None:
            waiting(images, images)
    try:
        yield
    finally:
        lock.release()


def _recheck_touched(files: StoreFiles, workers: int) -> None:
    """Check a file in full and keep it if only its time changed (a copy, say). Needs the lock."""
    meta, mtime_ns = read_meta(files.meta), _mtime_ns(files.pixels)
    if meta is None or mtime_ns is None or mtime_ns == meta.file_mtime_ns:
        return
    if blocks_whole(files.pixels, meta, workers, at_most_bytes=None):
        _put_meta(files, replace(meta, file_mtime_ns=mtime_ns), {})


def _build(
    images: ImageSource,
    resize: int,
    aspect: Aspect,
    files: StoreFiles,
    on_bad_image: OnBadImage,
    workers: int,
    progress: Progress | None,
) -> None:
    _, pixels, prints, twins = files.unfinished
    try:
        written = write_pixels(images, resize, aspect, pixels, workers, progress)
        bad = tuple(
            printable(f"{images.name(image.index)} ({image.reason})") for image in written.bad
        )
        deep = [(images.name(index), values) for index, values in written.ranges]
        faults = [] if (fault := range_fault(deep, len(images))) is None else [printable(fault)]
        if len(bad) == len(images) or (bad and on_bad_image == "fail"):
            faults.append(_bad_message(bad, len(images)))
        if faults:
            raise BadImagesError("\n".join(faults))
        fingerprints = array_content(written.fingerprints)
        clusters = array_content(near_duplicates(written.fingerprints))
        write_synced(prints, fingerprints)
        write_synced(twins, clusters)
        status = pixels.stat()
        meta = StoreMeta(
            title=title_of(images),
            resize=resize,
            aspect=aspect,
            source_images=len(images),
            bad_indices=tuple(image.index for image in written.bad),
            bad=bad,
            file_bytes=status.st_size,
            file_mtime_ns=status.st_mtime_ns,
            header_checksum=written.header_checksum,
            block_rows=written.block_rows,
            block_checksums=written.block_checksums,
            twins_checksum=crc32(clusters),
            prints_checksum=crc32(fingerprints),
        )
        moves = {pixels: files.pixels, prints: files.prints, twins: files.twins}
        _put_meta(files, meta, moves)
    finally:
        for path in files.unfinished:
            path.unlink(missing_ok=True)


def _put_meta(files: StoreFiles, meta: StoreMeta, moves: dict[Path, Path]) -> None:
    """Complete a store: rename its files into place, the metadata last."""
    facts = files.unfinished[0]
    write_synced(facts, meta.dump())
    replace_all({**moves, facts: files.meta})


def _mtime_ns(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def _reads(source: ImageSource, index: int, meta: StoreMeta) -> bool:
    try:
        stored_image(source, index, meta.resize, meta.aspect)
    except OSError:
        return False
    return True


def _store_key(images: ImageSource, resize: int, aspect: Aspect) -> str:
    # Pillow's version is included: another decoder may give other pixels.
    described = f"{FORMAT} {images.key} {len(images)} {resize} {aspect} {PIL.__version__}"
    return hashlib.sha256(described.encode()).hexdigest()[:32]


def _bad_message(bad: tuple[str, ...], images: int) -> str:
    lines = [f"  {entry}" for entry in bad[:_NAMED_AT_MOST]]
    if len(bad) > _NAMED_AT_MOST:
        lines.append(f"  and {len(bad) - _NAMED_AT_MOST} more")
    advice = (
        "None is readable: check the folder."
        if len(bad) == images
        else "Repair or remove them, or set data.on_bad_image=skip to leave them out."
    )
    return "\n".join([f"{len(bad)} of {images} images cannot be read:", *lines, advice])
