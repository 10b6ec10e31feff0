"""Batches of cached features, in the place of batches of images."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from pcsearch.data.cache.features import FeatureArray
from pcsearch.data.cache.files import MappedFile
from pcsearch.data.dataset import Int64Array
from pcsearch.data.loaders.batches import Batch, TrainBatches
from pcsearch.data.loaders.device_cache import AUTO_SHARE, cuda_free_bytes

_EVAL_BYTES = 2**22
"""Features in a batch of evaluation, about: they fit in a CPU's cache."""

_EVAL_AT_MOST = 1024


class FeatureTrainBatches:
    """Batches of the features of the images that `TrainBatches` would draw, in the same order.

    A mirrored image has the features of the second view. Crops and augmentations do not count.

    Args:
        drawn: draws images and flips.
        features: float32 [V, m, ...] of the centre crops, and of their mirror images if V is 2.
            Maps are [V, m, h, w, C] if `channels_last`.
        labels: [m] classes.
        device: the device of the batches.
        channels_last: whether features of an image are maps in that order.
    """

    def __init__(
        self,
        drawn: TrainBatches,
        features: FeatureArray,
        labels: Int64Array,
        device: torch.device,
        *,
        channels_last: bool = False,
    ) -> None:
        self._drawn = drawn
        self._rows = _Rows(features, labels, device, channels_last)
        self._images = features.shape[1]

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return len(self._drawn)

    @property
    def num_images(self) -> int:
        """Number of different images in an epoch."""
        return self._drawn.num_images

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch: float32 [B, ...] and int64 [B]."""
        draws, sizes = self._drawn.draws(epoch)
        rows, flips = draws.crops.rows, draws.crops.flips
        places = rows if flips is None else rows + self._images * flips
        return self._rows.batches(rows, places, sizes)


class FeatureEvalBatches:
    """Batches of the features of centre crops, in order; arguments as for `FeatureTrainBatches`."""

    def __init__(
        self,
        features: FeatureArray,
        labels: Int64Array,
        indices: Int64Array | None,
        device: torch.device,
        *,
        channels_last: bool = False,
    ) -> None:
        self._rows = _Rows(features, labels, device, channels_last)
        self._indices = np.arange(len(labels)) if indices is None else indices
        fitting = _EVAL_BYTES // max(1, features[0, :1].nbytes)
        self._batch_size = max(1, min(_EVAL_AT_MOST, fitting))

    def __len__(self) -> int:
        """Number of batches."""
        return -(-len(self._indices) // self._batch_size)

    @property
    def num_images(self) -> int:
        """Number of images."""
        return len(self._indices)

    @property
    def rows(self) -> Int64Array:
        """[I] the images' rows, in order."""
        return self._indices

    def __iter__(self) -> Iterator[Batch]:
        """Float32 [B, ...] and int64 [B]."""
        starts = range(0, len(self._indices), self._batch_size)
        sizes = [min(self._batch_size, len(self._indices) - start) for start in starts]
        return self._rows.batches(self._indices, self._indices, sizes)


class _Rows:
    """Gathers rows of features, on the device if they take little of its free memory."""

    def __init__(
        self,
        features: FeatureArray,
        labels: Int64Array,
        device: torch.device,
        channels_last: bool,
    ) -> None:
        self._file = MappedFile(features)
        self._labels = np.ascontiguousarray(labels)
        self._device = device
        self._permuted = channels_last and features.ndim == 5
        flat = features.reshape(-1, *features.shape[2:])
        self._values = _tensor(flat)
        if device.type == "cuda" and flat.nbytes <= AUTO_SHARE * cuda_free_bytes(device):
            self._values = self._values.to(device)

    def batches(self, rows: Int64Array, places: Int64Array, sizes: list[int]) -> Iterator[Batch]:
        """The features at `places` and the labels at `rows`, in batches of the given sizes.

        Raises:
            ImagesChangedError: the mapped file was truncated or written over.
        """
        self._file.check_length()
        labels = torch.from_numpy(self._labels[rows]).to(self._device)
        chosen = torch.from_numpy(np.ascontiguousarray(places)).to(self._values.device)
        for part, classes in zip(
            torch.split(chosen, sizes), torch.split(labels, sizes), strict=True
        ):
            features = self._values.index_select(0, part).to(self._device)
            yield (features.permute(0, 3, 1, 2) if self._permuted else features), classes
        self._file.check()


def _tensor(values: FeatureArray) -> Tensor:
    """A tensor that shares the memory of an array, which is only read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns that it could write to a read-only array
        return torch.from_numpy(np.asarray(values))
