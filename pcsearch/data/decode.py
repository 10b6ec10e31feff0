"""Any image file to 8-bit RGB, upright."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from pcsearch.io import LARGEST_BYTES, open_regular

FORMATS = (
    "JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "TGA"
)  # fmt: skip
"""Pillow's names of the formats that are decoded, whatever a file's name says.

It has decoders of forty more: one of them starts Ghostscript, and hardly anybody tests the others.
TGA, which has no mark at its beginning, is tried last.
"""

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".jp2", ".j2k", ".avif"}
    | {".heic", ".heif", ".hif", ".jxl", ".svg"}
    | {".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf"}
)
"""Endings of image files, also of such as Pillow cannot read: they are told, not passed over."""

_ORIENTATION = 0x0112


def open_image(file: BinaryIO) -> Image.Image:
    """The image in a file of one of `FORMATS`, not loaded yet; nothing else opens images.

    Raises whatever Pillow's decoders do.
    """
    return Image.open(file, formats=_built())


@functools.cache
def _built() -> tuple[str, ...]:
    """The formats that this build of Pillow has."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def cannot_be_read(path: Path) -> bool:
    """Whether a file's ending is that of a format that is not decoded."""
    suffix = path.suffix.lower()
    return suffix in EXTENSIONS and Image.registered_extensions().get(suffix) not in _built()


def read_image(path: Path, least_side: int | None = None) -> Image.Image:
    """The first frame of an image file, as `to_rgb` gives it.

    With `least_side`, a JPEG is decoded at the smallest of its scales (a half, a quarter, an
    eighth) at which both sides have that many pixels, which is cheaper.

    Raises OSError, with the reason, whatever is wrong with the file.
    """
    if cannot_be_read(path):
        # Pillow would take a camera's raw file for a TIFF and give its thumbnail
        raise OSError(f"{path.suffix.lower()} files are not supported: convert it to JPEG or PNG")
    try:
        with open_regular(path) as file:
            if os.fstat(file.fileno()).st_size > LARGEST_BYTES:
                raise OSError(f"it is larger than {LARGEST_BYTES / 1e6:,.0f} MB")
            image = open_image(file)
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


def to_rgb(image: Image.Image) -> Image.Image:
    """A loaded image of any mode as 8-bit RGB, turned upright by its EXIF orientation.

    Grey values are repeated in the three channels, palettes looked up, CMYK converted by
    Pillow's formula, 16-bit grey reduced to its high byte. An alpha channel is dropped, not
    blended, as torchvision's image folders do.
    """
    upright = _upright(image)
    if upright.mode == "RGB":
        return upright
    if upright.mode.startswith("I"):
        high_byte = np.asarray(upright).astype(np.int64).clip(0, 0xFFFF) >> 8
        return Image.fromarray(high_byte.astype(np.uint8)).convert("RGB")
    if upright.mode == "P" and "transparency" in upright.info:
        upright = upright.convert("RGBA")
    return upright.convert("RGB")


def _upright(image: Image.Image) -> Image.Image:
    try:
        turned = image.getexif().get(_ORIENTATION, 1) in range(2, 9)
    except Exception:  # unreadable EXIF data does not make the pixels unreadable
        return image
    return ImageOps.exif_transpose(image) if turned else image


def _reason(path: Path, error: Exception) -> str:
    if path.is_file() and path.stat().st_size == 0:
        return "the file is empty"
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    return f"{error}" or type(error).__name__
