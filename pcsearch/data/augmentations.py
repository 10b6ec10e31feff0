"""The augmentations of training images: a row of `AUGMENTATIONS` adds one.

A row draws parameters for images and changes whole batches by them. The recipe's key under `image`,
the random stream and the place in the data path follow from it.

Every change is one elementwise operation, an exact sum, or takes one image at a time. So an image
has the same values, bit for bit, in any batch. PyTorch is not imported, as recipes read the rows,
too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from pcsearch.data.auto_augment import (
    MOST_MAGNITUDE,
    MOST_OPERATIONS,
    rand_augment_draws,
    trivial_augment_draws,
)

if TYPE_CHECKING:
    from torch import Tensor

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
Settings = tuple[float, ...]

_ERASED_SHARE = (0.02, 0.33)  # of the image's area
_ERASED_ASPECT = (0.3, 3.3)  # height / width
_CROP_ASPECT = (3 / 4, 4 / 3)  # width / height
_CROP_TRIES = 10


@dataclass(frozen=True)
class Setting:
    """What a recipe states for an augmentation, from `low` to `high`.

    The default is `False` for a switch, a whole number for whole numbers, else a float.
    """

    default: bool | int | float = 0.0
    low: float = 0
    high: float = 1


@dataclass(frozen=True)
class Augmentation:
    """A random change of training images.

    Attributes:
        name: The key under `image` that states its settings. It is off where all have their
            defaults.
        parts: The keys below that one; empty if the key is the setting itself. A number instead of
            them stands for every part whose default is 0.
        settings: Of each part, or of the key itself; by default a number from 0 to 1.
        stream: The number of its random stream, unlike every other's: 3 or more, but not 8.
        columns: Random numbers for an image.
        draw: From random numbers [m, columns] in [0, 1), the settings and a side in pixels to
            parameters [m, ...]. The side is that of a crop, or of a whole image for `windows`.
        on: What it changes. `windows`: the random crop is replaced by the part of each image that
            `draw` gives, int64 [m, 4]: top, left, height, width, resized to the crop's side.
            `operations`: uint8 pixels, by the operations [m, k, 2] that `draw` gives (see
            `pcsearch.data.auto_augment`). `pixels`: float32 [B, 3, H, W], whole numbers from 0 to
            255 unless an earlier row made others. `inputs`: the same images normalised, in any
            memory format.
        apply: Changes a batch of `pixels` or `inputs` in place by the parameters of its images, on
            the same device. The loaders change the others.
    """

    name: str
    stream: int
    columns: int
    draw: Callable[[Float64Array, Settings, int], npt.NDArray[Any]]
    on: Literal["windows", "operations", "pixels", "inputs"]
    apply: Callable[[Tensor, Tensor], None] | None = None
    parts: tuple[str, ...] = ()
    settings: tuple[Setting, ...] = ()

    def __post_init__(self) -> None:
        if not self.settings:
            object.__setattr__(self, "settings", (Setting(),) * max(1, len(self.parts)))

    def is_off(self, settings: Settings) -> bool:
        """Whether the settings change nothing."""
        return settings == tuple(setting.default for setting in self.settings)


def random_windows(uniform: Float64Array, settings: Settings, side: int) -> Int64Array:
    """Windows (top, left, height, width) in images of `side` pixels, as RandomResizedCrop's.

    Of torchvision's ten tries of area and aspect, the first that fits counts; else the whole image.
    """
    (least,) = settings
    tries = uniform[:, : 2 * _CROP_TRIES].reshape(-1, _CROP_TRIES, 2)
    area = side * side * (least + tries[..., 0] * (1 - least))
    low, high = np.log(_CROP_ASPECT)
    aspect = np.exp(low + tries[..., 1] * (high - low))
    widths = np.rint(np.sqrt(area * aspect)).astype(np.int64)
    heights = np.rint(np.sqrt(area / aspect)).astype(np.int64)
    fits = (widths > 0) & (widths <= side) & (heights > 0) & (heights <= side)
    chosen = np.arange(len(uniform)), np.argmax(fits, axis=1)
    width, height = (
        np.where(fits.any(axis=1), lengths[chosen], side) for lengths in (widths, heights)
    )
    top = (uniform[:, -2] * (side - height + 1)).astype(np.int64)
    left = (uniform[:, -1] * (side - width + 1)).astype(np.int64)
    return np.stack([top, left, height, width], axis=1)


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
            "random_resized_crop",
            stream=5,
            columns=2 * _CROP_TRIES + 2,
            draw=random_windows,
            on="windows",
        ),
        Augmentation(
            "rand_augment",
            stream=6,
            columns=2 * MOST_OPERATIONS,
            draw=rand_augment_draws,
            on="operations",
            parts=("operations", "magnitude"),
            settings=(Setting(2, 1, MOST_OPERATIONS), Setting(0, 0, MOST_MAGNITUDE)),
        ),
        Augmentation(
            "trivial_augment",
            stream=7,
            columns=3,
            draw=trivial_augment_draws,
            on="operations",
            settings=(Setting(False),),
        ),
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
"""Every augmentation by name, in the order in which they act. Mirroring comes after `windows`."""
