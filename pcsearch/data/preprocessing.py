"""How stored images become network inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """Crop, mirror and normalise.

    Attributes:
        crop: side of the square crop in pixels; random in training, central in evaluation.
        flip: mirror half of the training images left to right.
        mean: mean of each channel, for values in [0, 1].
        std: standard deviation of each channel, for values in [0, 1].
        augment: settings of each augmentation of training images, by its name in `AUGMENTATIONS`.
    """

    crop: int
    flip: bool = True
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    augment: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
