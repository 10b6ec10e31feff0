"""Decode every image of a source once, in parallel, and note what is unusual about it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pcsearch.data.dataset import ImageSource, UInt8Array
from pcsearch.data.decode import cannot_be_read, open_image, to_rgb, values_of
from pcsearch.data.duplicates import fingerprint
from pcsearch.data.pixel_range import PixelRange
from pcsearch.data.sources import FileImages
from pcsearch.io import read_regular

MISSING = "no such file"
_CHUNK_IMAGES = 16
_FINGERPRINT_SIDE = 128
_MUCH_LARGER = 1.5
_ORIENTATION = 0x0112
_KINDS = {"L": "grey", "1": "grey", "CMYK": "CMYK", "P": "palette", "F": "float"}
_ALPHA = frozenset({"LA", "PA", "RGBA", "RGBa", "La"})


@dataclass(frozen=True)
class Scanned:
    """Facts about an image from decoding it.

    Attributes:
        size: stored width and height, before turning upright; (0, 0) if undecodable.
        digest: SHA-256 of the file, or of size and pixels if there is no file; empty if
            undecodable.
        fingerprint: see `duplicates.fingerprint`, None if undecodable.
        oddities: see `VerifyReport`.
        reason: why it cannot be decoded, or None.
        file_kind: format, mode and depth of its file, for example `PNG, RGB`; empty without a file.
        values: the stored values of an image of more than 8 bits, or None.
        contrast: the largest difference of two values in a channel, of 0 to 255, as decoded.
    """

    size: tuple[int, int]
    digest: bytes
    fingerprint: UInt8Array | None
    oddities: tuple[str, ...] = ()
    reason: str | None = None
    file_kind: str = ""
    values: PixelRange | None = None
    contrast: int = 255


def scan(
    images: ImageSource, workers: int, progress: Callable[[int], None] | None = None
) -> list[Scanned]:
    """Every image in order, few in memory at a time. `progress` gets the number of images done."""
    Image.init()  # loading the plugins is not safe in several threads at once
    found: list[Scanned] = []
    missing = frozenset(images.missing) if isinstance(images, FileImages) else frozenset()

    def chunk(start: int) -> list[Scanned]:
        stop = min(start + _CHUNK_IMAGES, len(images))
        return [
            _unreadable(MISSING) if index in missing else _scan_one(images, index)
            for index in range(start, stop)
        ]

    pool = ThreadPoolExecutor(workers, thread_name_prefix="verify")
    try:
        for part in pool.map(chunk, range(0, len(images), _CHUNK_IMAGES)):
            found += part
            if progress is not None:
                progress(len(found))
    finally:
        pool.shutdown(cancel_futures=True)
    return found


def _scan_one(images: ImageSource, index: int) -> Scanned:
    try:
        if isinstance(images, FileImages):
            found = _scan_file(Path(images.name(index)))
            if found is not None:
                return found
        image = images.image(index)  # decode as training does, and give its reason for a failure
    except OSError as error:
        return _unreadable(str(error))
    digest = hashlib.sha256(f"{image.size}".encode() + image.tobytes()).digest()
    return Scanned(image.size, digest, _fingerprint(image), contrast=_contrast(image))


def _scan_file(path: Path) -> Scanned | None:
    """The image, from one read of its bytes; None if the source must give the reason."""
    if cannot_be_read(path):
        return None
    try:
        data = read_regular(path)
        with open_image(io.BytesIO(data)) as image:
            oddities, size = _oddities(image), image.size
            form = "JPEG" if image.format == "MPO" else image.format
            image.load()
            rgb = to_rgb(image)
    except MemoryError:
        raise
    except Exception:  # Pillow's decoders raise nearly every built-in exception
        return None
    values = values_of(rgb)
    depth = f", {values.kind}" if values is not None else ""
    return Scanned(
        size,
        hashlib.sha256(data).digest(),
        _fingerprint(rgb),
        oddities,
        file_kind=f"{form}, {image.mode}{depth}",
        values=values,
        contrast=_contrast(rgb),
    )


def _contrast(image: Image.Image) -> int:
    """The largest difference of two values in a channel of an RGB image."""
    return int(np.ptp(np.array(image.getextrema()), axis=1).max())


def _fingerprint(image: Image.Image) -> UInt8Array:
    """The fingerprint of an image, resized by the box filter if it is much larger.

    The box filter is faster and finds nearly as many copies. For smaller pictures it would add
    edges, and hardly any would count as smooth.
    """
    side = _FINGERPRINT_SIDE
    much_larger = min(image.size) > _MUCH_LARGER * side
    how = Image.Resampling.BOX if much_larger else Image.Resampling.BILINEAR
    return fingerprint(np.asarray(image.resize((side, side), how)))


def _oddities(image: Image.Image) -> tuple[str, ...]:
    found = []
    if kind := _KINDS.get(image.mode):
        found.append(kind)
    if image.mode.startswith("I"):
        found.append("16-bit")
    if image.mode in _ALPHA or "transparency" in image.info:
        found.append("alpha")
    try:
        if image.getexif().get(_ORIENTATION, 1) in range(2, 9):
            found.append("EXIF-rotated")
    except Exception:  # unreadable EXIF data does not make the pixels unreadable
        found.append("EXIF unreadable")
    if getattr(image, "is_animated", False):
        found.append("animated")
    return tuple(found)


def _unreadable(reason: str) -> Scanned:
    return Scanned((0, 0), b"", None, (), reason)
