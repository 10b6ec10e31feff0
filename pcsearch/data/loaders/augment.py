"""Augmentation: random parameters for each image, and colour jitter and erasing of whole batches.

Parameters depend only on the seed, the epoch, the image's row, and how often the row came before
in the epoch. The batch, the other images and the worker do not matter. Each kind of augmentation
has its own random stream, so switching one on or off does not change the others.

Every step is one elementwise operation or an exact sum. So an image has the same values, bit for
bit, in any batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pcsearch.data.dataset import Int64Array
from pcsearch.data.preprocessing import ColorJitter, Preprocessing

Float64Array = npt.NDArray[np.float64]

ORDER_STREAM = 1
_CROP_STREAM, _JITTER_STREAM, _ERASING_STREAM = 2, 3, 4

_ERASED_SHARE = (0.02, 0.33)  # of the image's area
_ERASED_ASPECT = (0.3, 3.3)  # height / width


@dataclass(frozen=True)
class Crops:
    """m crops.

    Attributes:
        rows: [m] images.
        tops: [m] first lines.
        lefts: [m] first columns.
        flips: [m] whether each is mirrored left to right; None for none.
    """

    rows: Int64Array
    tops: Int64Array
    lefts: Int64Array
    flips: npt.NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Draws:
    """The random choices for m images.

    Attributes:
        crops: their crops and flips.
        jitter: [m, 3] factors of brightness, contrast and saturation; None if they are all 1.
        erased: [m, 4] top, left, height and width in the crop; None if nothing is erased.
    """

    crops: Crops
    jitter: Float64Array | None
    erased: Int64Array | None


def draw_parameters(
    preprocessing: Preprocessing, places: int, seed: int, epoch: int, rows: Int64Array
) -> Draws:
    """Draw the parameters for `rows`, which are those of a whole epoch in their order.

    Args:
        places: number of possible tops, and of possible lefts, of a crop.
    """
    streams = _Streams(seed, epoch, rows)
    uniform = streams.uniform(_CROP_STREAM, 3)
    tops, lefts = (uniform[:, :2] * places).astype(np.int64).T
    flips = uniform[:, 2] < 0.5 if preprocessing.flip else None
    jitter = erased = None
    if preprocessing.jitter != ColorJitter():
        jitter = _factors(preprocessing.jitter, streams.uniform(_JITTER_STREAM, 3))
    if preprocessing.erasing > 0:
        chances = streams.uniform(_ERASING_STREAM, 5)
        erased = _rectangles(chances, preprocessing.erasing, preprocessing.crop)
    return Draws(Crops(rows, tops, lefts, flips), jitter, erased)


class _Streams:
    """Uniform numbers for rows. Each row has its own place in a table from a random stream."""

    def __init__(self, seed: int, epoch: int, rows: Int64Array) -> None:
        self._seed, self._epoch, self._rows = seed, epoch, rows
        self._table_rows = int(rows.max(initial=-1)) + 1
        self._times = earlier_occurrences(rows)

    def uniform(self, stream: int, columns: int) -> Float64Array:
        """[m, columns] in [0, 1)."""
        drawn = np.empty((len(self._rows), columns))
        for time in range(int(self._times.max(initial=-1)) + 1):
            rng = np.random.default_rng((self._seed, self._epoch, stream, time))
            now = self._times == time
            drawn[now] = rng.random((self._table_rows, columns))[self._rows[now]]
        return drawn


def earlier_occurrences(rows: Int64Array) -> Int64Array:
    """How often each entry has occurred before: [5, 3, 5, 5] gives [0, 0, 1, 2]."""
    order = np.argsort(rows, kind="stable")
    positions = np.arange(len(rows))
    starts_group = np.diff(rows[order], prepend=-1) != 0
    first = np.maximum.accumulate(np.where(starts_group, positions, 0))
    earlier = np.empty(len(rows), dtype=np.int64)
    earlier[order] = positions - first
    return earlier


def _factors(jitter: ColorJitter, uniform: Float64Array) -> Float64Array:
    """From [max(0, 1 - x), 1 + x], as torchvision's ColorJitter."""
    reach = np.array([jitter.brightness, jitter.contrast, jitter.saturation])
    lowest = np.maximum(0.0, 1.0 - reach)
    return lowest + uniform * (1.0 + reach - lowest)


def _rectangles(uniform: Float64Array, probability: float, side: int) -> Int64Array:
    """Rectangles to erase, as torchvision's RandomErasing; height and width are 0 for none.

    torchvision redraws area and aspect, up to ten times, until the rectangle fits. Here the aspect
    is drawn among those that fit the area, so one draw is enough. torchvision rejects a few percent
    of the areas above 30 %; here they are that much more frequent.
    """
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
    line = torch.arange(height, device=images.device)
    column = torch.arange(width, device=images.device)
    in_lines = (line >= top) & (line < top + tall)
    in_columns = (column >= left) & (column < left + wide)
    images.masked_fill_((in_lines.unsqueeze(2) & in_columns.unsqueeze(1)).unsqueeze(1), 0)
