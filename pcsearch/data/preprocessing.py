"""How stored images become network inputs."""

from __future__ import annotations

from dataclasses import dataclass

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ColorJitter:
    """Colour changes in training: for each image, factors are drawn from [1 - x, 1 + x].

    As torchvision's ColorJitter, but in this order and with one clamp at the end.

    Attributes:
        brightness: x of the factor on all values.
        contrast: x of the factor on the difference from the image's mean grey.
        saturation: x of the factor on the difference from each pixel's grey.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0


@dataclass(frozen=True)
class Preprocessing:
    """Crop, mirror and normalise.

    Attributes:
        crop: side of the square crop in pixels; random in training, central in evaluation.
        flip: mirror half of the training images left to right.
        mean: mean of each channel, for values in [0, 1].
        std: standard deviation of each channel, for values in [0, 1].
        jitter: colour changes, only in training.
        erasing: probability that a rectangle of a training image is set to the mean.
    """

    crop: int
    flip: bool = True
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    jitter: ColorJitter = ColorJitter()
    erasing: float = 0.0
