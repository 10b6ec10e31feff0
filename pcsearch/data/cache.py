"""Decode once: every image of a source as uint8 pixels in one memory-mapped file.

A store is two files named by their content: KEY.npy (the pixels) and, put in place last,
KEY.json (what they are). All processes of a machine map the same file, so its pixels are in
memory once. Stores are never evicted.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import PIL
from filelock import FileLock

from pcsearch.data.cache_build import write_pixels
from pcsearch.data.cache_meta import StoreMeta, read_meta
from pcsearch.data.dataset import ImageSource, Int64Array, UInt8Array
from pcsearch.data.disk import check_room, disk_errors, replace_all, write_synced
from pcsearch.errors import UserError

OnBadImage = Literal["fail", "skip"]
Progress = Callable[[int, int], None]
_FORMAT = 1
_NAMED_AT_MOST = 10


@dataclass(frozen=True)
class ImageStore:
    """Decoded images.

    Attributes:
        path: the .npy file.
        images: uint8 [m, resize, resize, 3], memory-mapped, read-only.
        kept: [m] the rows' indices in the source (all of them unless images were skipped).
        bad: the skipped images, each with the reason.
    """

    path: Path
    images: UInt8Array
    kept: Int64Array
    bad: tuple[str, ...]


def default_cache_folder() -> Path:
    """$PCSEARCH_CACHE, or ~/.cache/pcsearch."""
    named = os.environ.get("PCSEARCH_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "pcsearch"


def ensure_store(
    images: ImageSource,
    resize: int,
    *,
    folder: Path,
    on_bad_image: OnBadImage = "fail",
    workers: int | None = None,
    progress: Progress | None = None,
) -> ImageStore:
    """The store of these images, built now unless a whole one exists.

    Images are warped to a square by Pillow's antialiased bilinear filter: the very pixels of
    torchvision's Resize((resize, resize)). One process builds, others wait for it; a crash
    leaves nothing that a later call would take for a store; a damaged store is built again, and so
    is one that lacks an image that can be read now.

    Args:
        images: what to decode.
        resize: side of the stored images in pixels.
        folder: where stores lie; made if missing.
        on_bad_image: `fail` raises and names the unreadable images; `skip` leaves them out.
        workers: threads that decode (Pillow releases the interpreter lock); default: all CPUs.
        progress: called with (images done, images in all) from this thread.

    Raises UserError for unreadable images under `fail`, when no image is readable, when the
    disk is too full (needed and free space are stated) or the folder is not writable.
    """
    if len(images) == 0:
        raise UserError("there are no images to decode.")
    path = folder / f"{_store_key(images, resize)}.npy"
    store = _open_current(path, images, resize)
    if store is None:
        needed_bytes = len(images) * resize * resize * 3
        with disk_errors(folder, needed_bytes):
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_suffix(".lock")):
                store = _open_current(path, images, resize)
                if store is None:
                    _build(images, resize, path, on_bad_image, workers, progress)
                    store = _open(path, images, resize)
    if store is None:
        raise UserError(
            f"the image cache {path} does not read back as it was written; check that disk or "
            "point PCSEARCH_CACHE to another one."
        )
    if store.bad and on_bad_image == "fail":
        raise UserError(_bad_message(store.bad, len(images)))
    return store


def _build(
    images: ImageSource,
    resize: int,
    path: Path,
    on_bad_image: OnBadImage,
    workers: int | None,
    progress: Progress | None,
) -> None:
    pixels, meta_file = path.with_suffix(".npy.tmp"), path.with_suffix(".json.tmp")
    path.with_suffix(".json").unlink(missing_ok=True)
    for leftover in (path, pixels, meta_file):
        leftover.unlink(missing_ok=True)
    check_room(path.parent, len(images) * resize * resize * 3)
    try:
        bad = write_pixels(images, resize, pixels, workers or _cpus(), progress)
        described = tuple(f"{images.name(b.index)} ({b.reason})" for b in bad)
        if bad and (on_bad_image == "fail" or len(bad) == len(images)):
            raise UserError(_bad_message(described, len(images)))
        meta = StoreMeta(
            resize=resize,
            source_images=len(images),
            file_bytes=pixels.stat().st_size,
            bad_indices=tuple(b.index for b in bad),
            bad=described,
        )
        write_synced(meta_file, meta.dump().encode())
        replace_all({pixels: path, meta_file: path.with_suffix(".json")})
    finally:
        pixels.unlink(missing_ok=True)
        meta_file.unlink(missing_ok=True)


def _open(path: Path, source: ImageSource, resize: int) -> ImageStore | None:
    """The store at `path` if it is whole: checksum of its meta data, sizes and shape."""
    meta = read_meta(path.with_suffix(".json"))
    if meta is None or (meta.resize, meta.source_images) != (resize, len(source)):
        return None
    try:
        if path.stat().st_size != meta.file_bytes:
            return None
        images = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    kept = np.setdiff1d(np.arange(len(source)), np.asarray(meta.bad_indices, dtype=np.int64))
    if images.shape != (len(kept), resize, resize, 3) or images.dtype != np.uint8:
        return None
    return ImageStore(path, images, kept.astype(np.int64), meta.bad)


def _open_current(path: Path, source: ImageSource, resize: int) -> ImageStore | None:
    """The same, unless an image that it lacks can be read now (its permissions were changed, say,
    which leaves its size and time as they were)."""
    store = _open(path, source, resize)
    if store is None:
        return None
    lacking = np.setdiff1d(np.arange(len(source)), store.kept)
    return None if any(_reads(source, int(index)) for index in lacking) else store


def _reads(source: ImageSource, index: int) -> bool:
    try:
        source.image(index)
    except OSError:
        return False
    return True


def _store_key(images: ImageSource, resize: int) -> str:
    # Pillow's version is part of it: another decoder may give other pixels.
    described = f"{_FORMAT} {images.key} {len(images)} {resize} warp {PIL.__version__}"
    return hashlib.sha256(described.encode()).hexdigest()[:32]


def _bad_message(bad: tuple[str, ...], images: int) -> str:
    lines = [f"  {entry}" for entry in bad[:_NAMED_AT_MOST]]
    if len(bad) > _NAMED_AT_MOST:
        lines.append(f"  and {len(bad) - _NAMED_AT_MOST} more")
    advice = (
        "None can be used: check the folder."
        if len(bad) == images
        else "Repair or remove them, or set data.on_bad_image=skip to leave them out."
    )
    return "\n".join([f"{len(bad)} of {images} images cannot be read:", *lines, advice])


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
