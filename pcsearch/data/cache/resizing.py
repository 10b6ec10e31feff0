"""From an image of any shape to the square that is stored."""

from __future__ import annotations

from typing import Literal

from PIL import Image

Aspect = Literal["warp", "keep"]
_LONGEST = 100  # times `resize`: at 256 pixels, 20 MB are in memory before the square is cut out


def resized(image: Image.Image, resize: int, aspect: Aspect) -> Image.Image:
    """A square of side `resize`, by Pillow's antialiased bilinear filter.

    `warp` gives the very pixels of torchvision's Resize((resize, resize)). `keep` gives those of
    Resize(resize), which brings the shorter side to `resize`, followed by CenterCrop(resize).

    Raises:
        OSError: by `keep` the longer side would be over 100 times `resize`; a line of pixels would
            take gigabytes, and is no picture.
    """
    width, height = image.size
    size = resize, resize
    if aspect == "keep":
        if width <= height:
            size = resize, int(resize * height / width)
        else:
            size = int(resize * width / height), resize
        if max(size) > _LONGEST * resize:
            raise OSError(
                f"{width} x {height} pixels are too long a strip to cut a square out of; "
                "image.aspect=warp would squeeze it"
            )
    if size != image.size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    if size == (resize, resize):
        return image
    # torchvision rounds halves to even, as Python does
    left, top = (round((side - resize) / 2.0) for side in size)
    return image.crop((left, top, left + resize, top + resize))
