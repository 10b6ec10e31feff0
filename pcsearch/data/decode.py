"""Any image file to 8-bit RGB, upright."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".jp2", ".j2k", ".avif"}
    | {".heic", ".heif", ".hif", ".jxl", ".svg"}
    | {".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf"}
)
"""Endings of image files, also of such as Pillow cannot read: they are told, not passed over."""

_ORIENTATION = 0x0112


def read_image(path: Path, least_side: int | None = None) -> Image.Image:
    """The first frame of an image file, as `to_rgb` gives it.

    With `least_side`, a JPEG is decoded at the smallest of its scales (a half, a quarter, an
    eighth) at which both sides have that many pixels, which is cheaper.

    Raises OSError, with the reason, whatever is wrong with the file.
    """
    suffix = path.suffix.lower()
    if suffix in EXTENSIONS and suffix not in Image.registered_extensions():
        # Pillow would take a camera's raw file for a TIFF and give its thumbnail
        raise OSError(f"{suffix} files are not supported: convert it to JPEG or PNG")
    try:
        with Image.open(path) as image:
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
