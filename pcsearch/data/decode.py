"""Decode an image file to upright 8-bit RGB."""

from __future__ import annotations

import functools
import os
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from pcsearch.data.pixel_range import PixelRange
from pcsearch.io import LARGEST_BYTES, is_safetensors, not_the_file, open_regular

FORMATS = (
    "JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "TGA"
)  # fmt: skip
"""Pillow's names of the formats that are decoded, independent of a file's name.

Pillow has forty more decoders: one starts Ghostscript, and hardly anybody tests the others. TGA
files have no magic number, so TGA is tried last.
"""

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".jp2", ".j2k", ".avif"}
    | {".heic", ".heif", ".hif", ".jxl", ".svg"}
    | {".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf"}
)
"""Endings of image files. Some are of formats that Pillow cannot read: such files are reported."""

RARE_RAWS = frozenset(
    {".3fr", ".bay", ".cap", ".crw", ".dcr", ".dcs", ".erf", ".fff", ".gpr", ".iiq", ".k25"}
    | {".kdc", ".mef", ".mos", ".mrw", ".nrw", ".pef", ".raw", ".rwl", ".sr2", ".srf", ".srw"}
    | {".x3f"}
)
"""Further endings of cameras' raw files. Other files have some of them, too, so folders of images
pass them over. A manifest may name such a file; then it is reported."""

_ORIENTATION = 0x0112
_DEEP = "pcsearch: 16 bits a channel"
_RANGE = "pcsearch: values"

_USUAL_SCANS = 20
_MOST_SCANNED_PIXELS = 10**9
"""Scans times pixels of a progressive JPEG: each scan passes over the whole image again."""

# Larger images than Pillow warns of are decoded; those that it refuses are reported.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def open_image(file: BinaryIO) -> Image.Image:
    """The image in a file of one of `FORMATS`, not loaded yet. All images are opened here.

    Raises:
        Exception: any error of Pillow's decoders.
    """
    image = Image.open(file, formats=_built())
    if any(_holds_16_bits(tile.args) for tile in image.tile[:1]):
        image.info[_DEEP] = True
    return image


def _holds_16_bits(stored: object) -> bool:
    """Whether a tile's arguments name a layout of 16 bits (`RGB;16L`), or PPM's largest value."""
    name, *more = stored if isinstance(stored, tuple) else (stored,)
    of_ppm = len(more) == 1 and isinstance(more[0], int) and more[0] > 255
    return of_ppm or str(name).partition(";")[2].startswith("16")


@functools.cache
def _built() -> tuple[str, ...]:
    """The formats that this build of Pillow has."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def cannot_be_read(path: Path) -> bool:
    """Whether a file's ending belongs to a format that is not decoded."""
    suffix = path.suffix.lower()
    known = suffix in EXTENSIONS
    return suffix in RARE_RAWS or (
        known and Image.registered_extensions().get(suffix) not in _built()
    )


def read_image(path: Path, least_side: int | None = None) -> Image.Image:
    """The first frame of an image file, converted by `to_rgb`.

    With `least_side`, a JPEG is decoded at its smallest scale (a half, a quarter, an eighth) whose
    sides have at least that many pixels. That is faster.

    Raises:
        OSError: the file cannot be decoded; the text gives the reason.
    """
    if cannot_be_read(path):
        # Pillow would take a camera's raw file for a TIFF and return its thumbnail
        raise OSError(f"{path.suffix.lower()} files are not supported: convert it to JPEG or PNG")
    try:
        with open_regular(path) as file:
            if os.fstat(file.fileno()).st_size > LARGEST_BYTES:
                raise OSError(f"it is larger than {LARGEST_BYTES / 1e6:,.0f} MB")
            image = open_image(file)
            _refuse_endless_scans(image, file)
            if least_side is not None:
                image.draft(None, (least_side, least_side))
            image.load()
            return to_rgb(image)
    except MemoryError:
        raise
    except FileNotFoundError as error:
        raise OSError("no such file") from error
    except IsADirectoryError as error:
        raise OSError("a folder, not a file") from error
    except PermissionError as error:
        raise OSError("you have no permission to read it") from error
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise OSError(f"too big, over {limit:,} pixels: make it smaller") from error
    except OSError as error:
        raise OSError(error.strerror or _reason(path, error)) from error
    except Exception as error:  # Pillow's decoders raise nearly every built-in exception
        raise OSError(_reason(path, error)) from error


def _refuse_endless_scans(image: Image.Image, file: BinaryIO) -> None:
    """A small progressive JPEG may hold hundreds of scans, which would decode for a minute."""
    if not image.info.get("progressive"):
        return
    place = file.tell()
    file.seek(0)
    scans = file.read().count(b"\xff\xda")  # in image data, a zero byte follows each 0xff
    file.seek(place)
    if scans > _USUAL_SCANS and scans * image.width * image.height > _MOST_SCANNED_PIXELS:
        raise OSError(f"a progressive JPEG of {scans} scans: save it as a baseline JPEG")


def to_rgb(image: Image.Image) -> Image.Image:
    """A loaded image of any mode as 8-bit RGB, turned upright by its EXIF orientation.

    Grey is repeated in the three channels. 16-bit grey is reduced to its high byte. Palettes are
    looked up. CMYK is converted by Pillow's formula. An alpha channel is dropped, not blended, as
    in torchvision's image folders. `values_of` gives the range of pixels of more than 8 bits.
    """
    upright = _upright(image)
    if upright.mode.startswith("I"):
        values = np.asarray(upright).astype(np.int64)
        rgb = Image.fromarray((values.clip(0, 0xFFFF) >> 8).astype(np.uint8)).convert("RGB")
        kind = "16-bit" if upright.mode != "I" or image.info.get(_DEEP) else "32-bit"
        rgb.info[_RANGE] = PixelRange(kind, int(values.min()), int(values.max()))
        return rgb
    if upright.mode == "P" and "transparency" in upright.info:
        upright = upright.convert("RGBA")
    rgb = upright if upright.mode == "RGB" else upright.convert("RGB")
    if upright.mode == "F":
        floats = np.asarray(upright)
        floats = floats[np.isfinite(floats)]
        least, most = (floats.min(), floats.max()) if len(floats) else (0, 0)
        rgb.info[_RANGE] = PixelRange("float", float(least), float(most))
    elif image.info.get(_DEEP):  # Pillow has kept the high bytes
        high_bytes = np.asarray(rgb)
        least, most = 256 * int(high_bytes.min()), 256 * int(high_bytes.max()) + 255
        rgb.info[_RANGE] = PixelRange("16-bit", least, most)
    return rgb


def values_of(image: Image.Image) -> PixelRange | None:
    """The stored values of an image from `to_rgb`, resized or not; None if they had 8 bits."""
    found = image.info.get(_RANGE)
    return found if isinstance(found, PixelRange) else None


def _upright(image: Image.Image) -> Image.Image:
    try:
        turned = image.getexif().get(_ORIENTATION, 1) in range(2, 9)
    except Exception:  # unreadable EXIF data does not make the pixels unreadable
        return image
    return ImageOps.exif_transpose(image) if turned else image


def _reason(path: Path, error: Exception) -> str:
    try:
        with open_regular(path) as file:
            start = file.read(32)
    except (OSError, ValueError):  # ValueError: a zero byte within the name
        start = b"?"
    if not start:
        return "the file is empty"
    if reason := not_the_file(start):
        return reason
    if is_safetensors(start):
        return "weights in the format safetensors, not an image"
    if isinstance(error, UnidentifiedImageError):
        if start.startswith((b"II*\0", b"MM\0*")):
            return "a TIFF of a kind that is not supported: save it with 8 bits a channel"
        return "not an image"
    return f"{error}" or type(error).__name__
