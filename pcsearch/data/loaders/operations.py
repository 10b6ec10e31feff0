"""The operations of RandAugment and TrivialAugment on whole batches, by torchvision's kernels.

Images that drew the same operation, with the same strength, pass through its kernel together.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pcsearch.data.auto_augment import OPERATIONS, Float64Array

_ONE_BY_ONE = frozenset({"Color", "Contrast", "Sharpness"})
"""Their sums may be rounded in another way in another batch, so each image passes alone."""


def apply_operations(pixels: Tensor, draws: Float64Array) -> None:
    """Apply each image's operations in their order, in place.

    Args:
        pixels: float32 [B, 3, H, W] of whole numbers from 0 to 255, on any device.
        draws: [B, operations, 2] on the host: the operation's position and its strength. So a GPU
            need not be waited for.
    """
    images = pixels.to(torch.uint8)
    for drawn in draws.transpose(1, 0, 2):
        for position, strength in np.unique(drawn, axis=0).tolist():
            name = OPERATIONS[int(position)]
            if name == "Identity":
                continue
            same = np.flatnonzero((drawn == (position, strength)).all(axis=1)).tolist()
            for group in [[one] for one in same] if name in _ONE_BY_ONE else [same]:
                chosen = torch.stack([images[one] for one in group])
                for one, result in zip(group, transformed(chosen, name, strength), strict=True):
                    images[one] = result
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
