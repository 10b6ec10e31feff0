"""RandAugment and TrivialAugment, as torchvision has them, on whole batches.

Cubuk, Zoph, Shlens, Le, "RandAugment", NeurIPS 2020. Müller, Hutter, "TrivialAugment", ICCV 2021.
Each image draws its own operations. Images with equal draws pass through one kernel of torchvision
together. PyTorch is imported when images are changed, as recipes read the rows that use this.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

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
_ONE_BY_ONE = frozenset({"Color", "Contrast", "Sharpness"})
"""Their sums may be rounded in another way in another batch, so each image passes alone."""


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


def auto_augment(pixels: Tensor, draws: npt.NDArray[Any]) -> None:
    """Apply each image's operations in their order, in place.

    Args:
        pixels: float32 [B, 3, H, W] of whole numbers from 0 to 255, on any device.
        draws: [B, operations, 2] on the host: the operation's position and its strength. So a GPU
            need not be waited for.
    """
    import torch

    images = pixels.to(torch.uint8)
    for drawn in draws.transpose(1, 0, 2):
        for position, strength in np.unique(drawn, axis=0).tolist():
            name = OPERATIONS[int(position)]
            if name == "Identity":
                continue
            same = np.flatnonzero((drawn == (position, strength)).all(axis=1)).tolist()
            for group in [[one] for one in same] if name in _ONE_BY_ONE else [same]:
                where = group[0] if len(group) == 1 else torch.tensor(group).to(pixels.device)
                chosen = images[where].unsqueeze(0) if len(group) == 1 else images[where]
                images[where] = transformed(chosen, name, strength)
    pixels.copy_(images)


def transformed(images: Tensor, name: str, strength: float) -> Tensor:
    """uint8 [B, 3, H, W] after one operation, with nearest pixels and black outside."""
    from torchvision.transforms.v2 import functional as vision

    shear = math.degrees(math.atan(strength))
    still: dict[str, Any] = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
    changed: Tensor
    match name:
        case "ShearX":
            changed = vision.affine(images, **still | {"shear": [shear, 0.0]}, center=[0, 0])
        case "ShearY":
            changed = vision.affine(images, **still | {"shear": [0.0, shear]}, center=[0, 0])
        case "TranslateX":
            changed = vision.affine(images, **still | {"translate": [int(strength), 0]})
        case "TranslateY":
            changed = vision.affine(images, **still | {"translate": [0, int(strength)]})
        case "Rotate":
            changed = vision.rotate(images, strength)
        case "Brightness":
            changed = vision.adjust_brightness(images, 1 + strength)
        case "Color":
            changed = vision.adjust_saturation(images, 1 + strength)
        case "Contrast":
            changed = vision.adjust_contrast(images, 1 + strength)
        case "Sharpness":
            changed = vision.adjust_sharpness(images, 1 + strength)
        case "Posterize":
            changed = vision.posterize(images, int(strength))
        case "Solarize":
            changed = vision.solarize(images, 255 * strength)
        case "AutoContrast":
            changed = vision.autocontrast(images)
        case "Equalize":
            changed = vision.equalize(images)
        case _:
            raise ValueError(f"no operation is called {name}")
    return changed
