"""The augmentations of training images: a row of `AUGMENTATIONS` adds one.

A row draws parameters for images and changes whole batches by them. The recipe's key under `image`,
the random stream and the place in the data path follow from it.

Every change is one elementwise operation or an exact sum. So an image has the same values, bit for
bit, in any batch. PyTorch is not imported, as recipes read the rows, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
Settings = tuple[float, ...]

_ERASED_SHARE = (0.02, 0.33)  # of the image's area
_ERASED_ASPECT = (0.3, 3.3)  # height / width


@dataclass(frozen=True)
class Augmentation:
    """A random change of training images.

    Attributes:
        name: The key under `image` that states its settings, each from 0 to 1; all 0 is off.
        parts: The keys below that one; empty if the key is a number itself.
        stream: The number of its random stream, 3 or more, unlike every other's.
        columns: Random numbers for an image.
        draw: From random numbers [m, columns] in [0, 1), the settings and the crop's side in pixels
            to parameters [m, ...].
        apply: Changes a batch in place by the parameters of its images, on the same device.
        on: `pixels`: float32 [B, 3, H, W], whole numbers from 0 to 255. `inputs`: the same images
            normalised, in any memory format.
    """

    name: str
    stream: int
    columns: int
    draw: Callable[[Float64Array, Settings, int], npt.NDArray[Any]]
    apply: Callable[[Tensor, Tensor], None]
    on: Literal["pixels", "inputs"]
    parts: tuple[str, ...] = ()


def jitter_factors(uniform: Float64Array, reach: Settings, side: int) -> Float64Array:
    """From [max(0, 1 - x), 1 + x], as torchvision's ColorJitter."""
    lowest = np.maximum(0.0, 1.0 - np.array(reach))
    return lowest + uniform * (1.0 + np.array(reach) - lowest)


def erased_rectangles(uniform: Float64Array, settings: Settings, side: int) -> Int64Array:
    """Rectangles to erase, as torchvision's RandomErasing; height and width are 0 for none.

    torchvision redraws area and aspect, up to ten times, until the rectangle fits. Here the aspect
    is drawn among those that fit the area, so one draw is enough. torchvision rejects a few percent
    of the areas above 30 %; here they are that much more frequent.
    """
    (probability,) = settings
    chance, for_area, for_aspect, for_top, for_left = uniform.T
    low, high = _ERASED_SHARE
    share = low + for_area * (high - low)
    lowest = np.log(np.maximum(_ERASED_ASPECT[0], share))
    highest = np.log(np.minimum(_ERASED_ASPECT[1], 1 / share))
    root_aspect = np.exp((lowest + for_aspect * (highest - lowest)) / 2)
    root_area = side * np.sqrt(share)
    height, width = (
        np.minimum(np.rint(length), side - 1).astype(np.int64) * (chance < probability)
        for length in (root_area * root_aspect, root_area / root_aspect)
    )
    top = (for_top * (side - height + 1)).astype(np.int64)
    left = (for_left * (side - width + 1)).astype(np.int64)
    return np.stack([top, left, height, width], axis=1)


_GREY_WEIGHTS = (0.299, 0.587, 0.114)


def jitter_colors(pixels: Tensor, factors: Tensor) -> None:
    """Change brightness b, then contrast c, then saturation s of each image, in place.

    With w the grey weights and m the mean of w·x over the image, torchvision's three blends are
        x ← b x,   x ← c x + (1 - c) m,   x ← s x + (1 - s) w·x,
    together b c s x + b c (1 - s) w·x + (1 - c) b m. Values are clamped once, at the end, while
    torchvision clamps after each blend. The results are equal if no blend leaves the range;
    otherwise less detail is lost here.

    Args:
        pixels: float32 [B, 3, H, W] of whole numbers from 0 to 255, changed in place.
        factors: float64 [B, 3], b, c and s, on the same device.
    """
    brightness, contrast, saturation = factors.T
    red, green, blue = pixels.unbind(1)
    grey = (red * _GREY_WEIGHTS[0]).add_(green * _GREY_WEIGHTS[1]).add_(blue * _GREY_WEIGHTS[2])
    plain = brightness * contrast * saturation
    grey.mul_(_per_image(brightness * contrast - plain, 3))
    grey.add_(_per_image((1 - contrast) * brightness * _mean_grey(pixels), 3))
    pixels.mul_(_per_image(plain, 4)).add_(grey.unsqueeze(1)).clamp_(0, 255)


def _mean_grey(pixels: Tensor) -> Tensor:
    """[B] float64. A line's sum of whole numbers is exact in float32, in any order."""
    sums = pixels.sum(dim=3).double().sum(dim=2)
    red, green, blue = sums.unbind(1)
    weighted = red * _GREY_WEIGHTS[0] + green * _GREY_WEIGHTS[1] + blue * _GREY_WEIGHTS[2]
    return weighted / (pixels.shape[2] * pixels.shape[3])


def _per_image(values: Tensor, dimensions: int) -> Tensor:
    return values.float().view(-1, *[1] * (dimensions - 1))


def erase(images: Tensor, rectangles: Tensor) -> None:
    """Set a rectangle of each normalised image to 0, the mean, in place.

    Args:
        images: [B, 3, H, W] in any memory format.
        rectangles: int64 [B, 4], top, left, height and width, on the same device.
    """
    if images.device.type == "cpu":
        _erase_each(images, rectangles)
    else:
        _erase_masked(images, rectangles)


def _erase_each(images: Tensor, rectangles: Tensor) -> None:
    """Erase image by image. Only erased pixels are written: on a CPU, at 112 pixels, 15 times as
    fast as a mask."""
    for image, (top, left, height, width) in zip(images, rectangles.tolist(), strict=True):
        if height and width:
            image[:, top : top + height, left : left + width] = 0


def _erase_masked(images: Tensor, rectangles: Tensor) -> None:
    """Erase all at once, without reading the values: that would make a GPU wait for its queue."""
    height, width = images.shape[2:]
    top, left, tall, wide = rectangles.T.unsqueeze(2)
    line, column = (rectangles.new_ones(side).cumsum(0) - 1 for side in (height, width))
    in_lines = (line >= top) & (line < top + tall)
    in_columns = (column >= left) & (column < left + wide)
    images.masked_fill_((in_lines.unsqueeze(2) & in_columns.unsqueeze(1)).unsqueeze(1), 0)


AUGMENTATIONS: dict[str, Augmentation] = {
    one.name: one
    for one in (
        Augmentation(
            "color_jitter",
            stream=3,
            columns=3,
            draw=jitter_factors,
            apply=jitter_colors,
            on="pixels",
            parts=("brightness", "contrast", "saturation"),
        ),
        Augmentation(
            "random_erasing", stream=4, columns=5, draw=erased_rectangles, apply=erase, on="inputs"
        ),
    )
}
"""Every augmentation by name, in the order in which they act."""
