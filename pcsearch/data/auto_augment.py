"""RandAugment and TrivialAugment, as torchvision has them: which operations an image draws.

Cubuk, Zoph, Shlens, Le, "RandAugment", NeurIPS 2020. Müller, Hutter, "TrivialAugment", ICCV 2021.
`pcsearch.data.loaders.operations` applies them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]

OPERATIONS = (
    *("Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color"),
    *("Contrast", "Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize"),
)
"""In torchvision's order. A draw names one by its position."""

MOST_OPERATIONS = 8
MOST_MAGNITUDE = 30
"""Magnitudes are levels from 0 to this one, 31 in all."""

_SIGNED = frozenset(OPERATIONS[1:10])


def strengths(side: int, wide: bool) -> Float64Array:
    """What each magnitude means for each operation [14, 31], in images of `side` pixels.

    Degrees, pixels, factors less 1, tangents of shears, bits, and the threshold's share of white.

    Args:
        side: of the images, in pixels.
        wide: as in TrivialAugment Wide, else as in RandAugment.
    """
    level = np.arange(MOST_MAGNITUDE + 1)
    shift = 32.0 if wide else 150.0 * side / 331.0
    table = np.zeros((len(OPERATIONS), len(level)))
    table[1:3] = (0.99 if wide else 0.3) * level / MOST_MAGNITUDE
    table[3:5] = shift * level / MOST_MAGNITUDE
    table[5] = (135.0 if wide else 30.0) * level / MOST_MAGNITUDE
    table[6:10] = (0.99 if wide else 0.9) * level / MOST_MAGNITUDE
    table[10] = np.rint(8 - (6 if wide else 4) * level / MOST_MAGNITUDE)
    table[11] = 1 - level / MOST_MAGNITUDE
    return table


def rand_augment_draws(
    uniform: Float64Array, settings: tuple[float, ...], side: int
) -> Float64Array:
    """[m, operations, 2]: operations of equal magnitude, each with a sign if it has one.

    A magnitude of 0 leaves images as they are.
    """
    operations, magnitude = (int(value) for value in settings)
    choices, signs = uniform[:, ::2][:, :operations], uniform[:, 1::2][:, :operations]
    if magnitude == 0:
        choices = np.zeros_like(choices)
    levels = np.full(choices.shape, magnitude)
    return _draws(choices, levels, signs, strengths(side, wide=False))


def trivial_augment_draws(
    uniform: Float64Array, settings: tuple[float, ...], side: int
) -> Float64Array:
    """[m, 1, 2]: one operation of a random magnitude."""
    choices, magnitudes, signs = uniform.T[:, :, None]
    levels = (magnitudes * (MOST_MAGNITUDE + 1)).astype(np.int64)
    return _draws(choices, levels, signs, strengths(side, wide=True))


def _draws(
    choices: Float64Array, levels: npt.NDArray[np.int64], signs: Float64Array, table: Float64Array
) -> Float64Array:
    chosen = (choices * len(OPERATIONS)).astype(np.int64)
    values = table[chosen, levels]
    signed = np.isin(chosen, [OPERATIONS.index(name) for name in _SIGNED])
    values = np.where(signed & (signs < 0.5), -values, values) + 0.0  # no -0
    return np.stack([chosen.astype(np.float64), values], axis=2)
