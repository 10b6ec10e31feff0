"""From stored uint8 pixels to normalised float batches, a whole batch at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from numpy.lib.stride_tricks import as_strided

from pcsearch.data.dataset import Int64Array, UInt8Array
from pcsearch.data.preprocessing import Preprocessing
from pcsearch.errors import UserError


def crop_windows(images: UInt8Array, crop: int) -> UInt8Array:
    """All crops of all images as a view [n, R - crop + 1, R - crop + 1, crop, 3 * crop].

    Indexed by [rows, tops, lefts] it gathers one crop of each row: image lines are contiguous
    there, so this costs no more than copying them.

    Args:
        images: [n, R, R, 3], C-contiguous.
        crop: side of the crop in pixels.

    Raises UserError if crops are larger than the images.
    """
    number, height, width, channels = images.shape
    if crop > min(height, width):
        raise UserError(f"image.crop is {crop}, but images are stored at {width} (image.resize).")
    base = np.ascontiguousarray(images).view(np.ndarray)
    image_stride, row_stride, pixel_stride, byte = base.strides
    return as_strided(
        base,
        shape=(number, height - crop + 1, width - crop + 1, crop, crop * channels),
        strides=(image_stride, row_stride, pixel_stride, row_stride, byte),
        writeable=False,
    )


def gather_crops(
    windows: UInt8Array, rows: Int64Array, tops: Int64Array, lefts: Int64Array
) -> UInt8Array:
    """One crop of each row, as new uint8 [B, crop, crop, 3]."""
    crops = windows[rows, tops, lefts]
    return crops.reshape(len(rows), crops.shape[1], -1, 3)


def mirror(crops: UInt8Array, flips: npt.NDArray[np.bool_]) -> None:
    """Mirror the flagged crops [B, crop, crop, 3] left to right, in place."""
    if flips.any():
        columns = np.arange(crops.shape[2] - 1, -1, -1)
        crops[flips] = np.take(crops[flips], columns, axis=2)


class Normalizer:
    """uint8 crops to float32 on the training device: x * scale + bias, per channel.

    With scale = 1 / (255 std) and bias = -mean / std that is (x / 255 - mean) / std, as
    torchvision's ToTensor and Normalize, within 1e-6.
    """

    def __init__(
        self, preprocessing: Preprocessing, device: torch.device, channels_last: bool
    ) -> None:
        mean = torch.tensor(preprocessing.mean, dtype=torch.float64)
        std = torch.tensor(preprocessing.std, dtype=torch.float64)
        # A line of pixels at a time: broadcasting over 3 channels alone is not vectorised.
        repeats: Sequence[int] = (preprocessing.crop,) if channels_last else (1,)
        scale = (1 / (255 * std)).float().repeat(*repeats)
        bias = (-mean / std).float().repeat(*repeats)
        shape = (1, 1, -1) if channels_last else (1, -1, 1, 1)
        self._scale = scale.view(shape).to(device)
        self._bias = bias.view(shape).to(device)
        self._device = device
        self._channels_last = channels_last

    def __call__(self, crops: UInt8Array) -> torch.Tensor:
        """Crops [B, crop, crop, 3] as float32 [B, 3, crop, crop] on the device."""
        pixels = torch.from_numpy(crops)
        if self._device.type == "cuda":
            pixels = pixels.pin_memory().to(self._device, non_blocking=True)
        if self._channels_last:
            lines = pixels.flatten(2).to(self._device, torch.float32)
            lines.mul_(self._scale).add_(self._bias)
            return lines.view(pixels.shape).permute(0, 3, 1, 2)
        planes = pixels.permute(0, 3, 1, 2).to(
            self._device, torch.float32, memory_format=torch.contiguous_format
        )
        return planes.mul_(self._scale).add_(self._bias)
