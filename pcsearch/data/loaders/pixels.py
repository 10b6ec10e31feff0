"""From stored uint8 pixels to normalised float batches, a whole batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numpy.lib.stride_tricks import as_strided
from torch import Tensor

from pcsearch.data.augmentations import Augmentation
from pcsearch.data.dataset import Int64Array, UInt8Array
from pcsearch.data.loaders.operations import apply_operations
from pcsearch.data.preprocessing import Preprocessing
from pcsearch.errors import UserError


def crop_windows(images: UInt8Array, crop: int) -> UInt8Array:
    """All crops of all images as a view [n, R - crop + 1, R - crop + 1, crop, 3 * crop].

    Index it by [rows, tops, lefts] to gather one crop of each row. Lines of a crop are contiguous,
    so gathering costs the same as copying them.

    Args:
        images: [n, R, R, 3], C-contiguous.
        crop: side of the crop in pixels.

    Raises:
        UserError: crops are larger than the images.
    """
    check_crop(images.shape[1:3], crop)
    number, height, width, channels = images.shape
    base = np.ascontiguousarray(images).view(np.ndarray)
    image_stride, row_stride, pixel_stride, byte = base.strides
    return as_strided(
        base,
        shape=(number, height - crop + 1, width - crop + 1, crop, crop * channels),
        strides=(image_stride, row_stride, pixel_stride, row_stride, byte),
        writeable=False,
    )


def check_crop(shape: tuple[int, ...], crop: int) -> None:
    """Raise UserError if crops are larger than images of this height and width."""
    height, width = shape
    if crop > min(height, width):
        raise UserError(
            f"image.crop is {crop}, but images are stored at {width} (image.resize): lower "
            "image.crop or raise image.resize."
        )


def gather_crops(
    windows: UInt8Array, rows: Int64Array, tops: Int64Array, lefts: Int64Array
) -> UInt8Array:
    """One crop of each row, as new uint8 [B, crop, crop, 3]."""
    crops = windows[rows, tops, lefts]
    return crops.reshape(len(rows), crops.shape[1], crops.shape[1], 3)


def resized_window(window: Tensor, crop: int) -> Tensor:
    """A window uint8 [h, w, 3] as [crop, crop, 3], as torchvision's RandomResizedCrop resizes it.

    Each window has its own size, so they are resized one by one.
    """
    from torchvision.transforms.v2 import functional as vision

    planes = window.contiguous().permute(2, 0, 1)
    resized: Tensor = vision.resize(planes, [crop, crop], antialias=True)
    return resized.permute(1, 2, 0)


def mirror(crops: UInt8Array, flips: npt.NDArray[np.bool_]) -> None:
    """Mirror the flagged crops [B, crop, crop, 3] left to right, in place.

    PyTorch flips channels-last images by whole pixels with vector instructions. That is 4 to 6
    times as fast as indexing the columns.
    """
    if flips.any():
        flagged = torch.from_numpy(crops[flips]).permute(0, 3, 1, 2)
        crops[flips] = flagged.flip(3).permute(0, 2, 3, 1).numpy()


def gather_resident(
    images: Tensor, crop: int, rows: Tensor, tops: Tensor, lefts: Tensor, flips: Tensor | None
) -> Tensor:
    """`gather_crops` and `mirror` for images on a device, without a loop over them.

    Args:
        images: uint8 [n, R, R, 3], contiguous.
        crop: side of the crops in pixels.
        rows, tops, lefts: int64 [B], on the same device.
        flips: bool [B] or None for no mirroring.

    Returns:
        uint8 [B, crop, crop, 3].
    """
    number, height, width, channels = images.shape
    image_stride, row_stride, pixel_stride, byte = images.stride()
    windows = images.as_strided(
        (number, height - crop + 1, width - crop + 1, crop, crop * channels),
        (image_stride, row_stride, pixel_stride, row_stride, byte),
    )
    crops = windows[rows, tops, lefts].view(len(rows), crop, crop, channels)
    return crops if flips is None else mirrored(crops, flips)


def mirrored(crops: Tensor, flips: Tensor) -> Tensor:
    """`mirror` for crops on a device, without reading the flags."""
    return torch.where(flips.view(-1, 1, 1, 1), crops.flip(2), crops)


class Normalizer:
    """uint8 crops to float32: changes of pixels, then x * scale + bias for each channel.

    With scale = 1 / (255 std) and bias = -mean / std, that is (x / 255 - mean) / std. It equals
    torchvision's ToTensor and Normalize within 1e-6.
    """

    def __init__(
        self, preprocessing: Preprocessing, device: torch.device, channels_last: bool
    ) -> None:
        mean = torch.tensor(preprocessing.mean, dtype=torch.float64)
        std = torch.tensor(preprocessing.std, dtype=torch.float64)
        scale = (1 / (255 * std)).float().to(device)
        bias = (-mean / std).float().to(device)
        self._of_planes = scale.view(1, -1, 1, 1), bias.view(1, -1, 1, 1)
        # For a line of pixels at a time: broadcasting over only 3 channels is not vectorised.
        self._of_lines = scale.repeat(preprocessing.crop), bias.repeat(preprocessing.crop)
        self._channels_last = channels_last

    def __call__(self, crops: Tensor, changes: Sequence[tuple[Augmentation, Any]] = ()) -> Tensor:
        """Crops [B, crop, crop, 3] as float32 [B, 3, crop, crop], on the same device.

        Args:
            changes: augmentations of pixels, with the parameters of these images; operations have
                theirs on the host.
        """
        if self._channels_last and not changes:
            scale, bias = self._of_lines
            lines = crops.flatten(2).to(torch.float32)
            return lines.mul_(scale).add_(bias).view(crops.shape).permute(0, 3, 1, 2)
        scale, bias = self._of_planes
        planes = crops.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        for augmentation, parameters in changes:
            if augmentation.on == "operations":
                apply_operations(planes, parameters)
            elif augmentation.apply is not None:
                augmentation.apply(planes, parameters)
        planes.mul_(scale).add_(bias)
        if self._channels_last:  # colours in planes are twice as fast, including this conversion
            return planes.contiguous(memory_format=torch.channels_last)
        return planes
