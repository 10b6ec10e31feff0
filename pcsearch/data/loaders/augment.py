"""Random parameters of crops, flips and augmentations for each image.

They depend only on the seed, the epoch, the image's row, and how often the row came before
in the epoch. The batch, the other images and the worker do not matter. Each kind of augmentation
has its own random stream, so switching one on or off does not change the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pcsearch.data.augmentations import AUGMENTATIONS
from pcsearch.data.dataset import Int64Array
from pcsearch.data.preprocessing import Preprocessing

Float64Array = npt.NDArray[np.float64]

ORDER_STREAM = 1
_CROP_STREAM = 2
SAMPLING_STREAM = 8  # after those of augmentations


@dataclass(frozen=True)
class Crops:
    """m crops.

    Attributes:
        rows: [m] images.
        tops: [m] first lines.
        lefts: [m] first columns.
        flips: [m] whether each is mirrored left to right; None for none.
        sizes: [m, 2] heights and widths, resized to the crop's side; None for that side.
    """

    rows: Int64Array
    tops: Int64Array
    lefts: Int64Array
    flips: npt.NDArray[np.bool_] | None = None
    sizes: Int64Array | None = None


@dataclass(frozen=True)
class Draws:
    """The random choices for m images.

    Attributes:
        crops: their crops and flips.
        augmented: [m, ...] parameters of each augmentation in use, by name.
    """

    crops: Crops
    augmented: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)


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
    crops, augmented = Crops(rows, tops, lefts, flips), {}
    for name, settings in preprocessing.augment.items():
        one = AUGMENTATIONS[name]
        if one.is_off(settings):
            continue
        chances = streams.uniform(one.stream, one.columns)
        if one.on == "windows":
            windows = one.draw(chances, settings, preprocessing.crop + places - 1)
            crops = Crops(rows, windows[:, 0], windows[:, 1], flips, windows[:, 2:])
        else:
            augmented[name] = one.draw(chances, settings, preprocessing.crop)
    return Draws(crops, augmented)


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
            now = np.flatnonzero(self._times == time)
            drawn[now] = _entries(rng, self._rows[now], self._table_rows, columns)
        return drawn


_SPARSE = 500
"""Numbers that are drawn in the time of jumping to a line of a table."""


def _entries(
    rng: np.random.Generator, rows: Int64Array, table_rows: int, columns: int
) -> Float64Array:
    """Lines `rows`, each another one, of the table [table_rows, columns] that `rng` draws.

    Of few lines, the numbers before them are skipped: an image of a rare class comes hundreds of
    times in an epoch of balanced classes.
    """
    if len(rows) * _SPARSE > table_rows * columns:
        return rng.random((table_rows, columns))[rows]
    found = np.empty((len(rows), columns))
    drawn = 0
    for place in np.argsort(rows).tolist():
        start = int(rows[place]) * columns
        rng.bit_generator.advance(start - drawn)  # type: ignore[attr-defined]
        found[place] = rng.random(columns)
        drawn = start + columns
    return found


def earlier_occurrences(rows: Int64Array) -> Int64Array:
    """How often each entry has occurred before: [5, 3, 5, 5] gives [0, 0, 1, 2]."""
    order = np.argsort(rows, kind="stable")
    positions = np.arange(len(rows))
    starts_group = np.diff(rows[order], prepend=-1) != 0
    first = np.maximum.accumulate(np.where(starts_group, positions, 0))
    earlier = np.empty(len(rows), dtype=np.int64)
    earlier[order] = positions - first
    return earlier
