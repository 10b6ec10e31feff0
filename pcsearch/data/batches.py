"""Batches for training and evaluation, straight from the decoded images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from pcsearch.confusion.pairing import epoch_batches, num_batches
from pcsearch.data.dataset import Int64Array, UInt8Array
from pcsearch.data.pixels import Normalizer, crop_windows, gather_crops, mirror
from pcsearch.data.preprocessing import Preprocessing

Batch = tuple[torch.Tensor, torch.Tensor]
_ORDER, _CROPS = 1, 2  # separate random streams


class TrainBatches:
    """Shuffled, randomly cropped and mirrored batches, epoch by epoch.

    An image's crop and mirroring depend on (seed, epoch, its row) alone, not on the batch or
    the other images, so an epoch can be repeated exactly, by any worker. Where the pairing
    shows an image twice in an epoch, it is cropped anew the second time.
    """

    def __init__(
        self,
        images: UInt8Array,
        labels: Int64Array,
        indices: Int64Array,
        preprocessing: Preprocessing,
        *,
        batch_size: int,
        pairing: str,
        seed: int,
        device: torch.device | str,
        channels_last: bool = False,
    ) -> None:
        """Prepare batches of some of the images.

        Args:
            images: uint8 [n, R, R, 3], for example memory-mapped; never copied whole.
            labels: [n] classes.
            indices: the rows to train on.
            preprocessing: crop, mirroring and normalisation.
            batch_size: images a batch; the last batch of an epoch may be smaller.
            pairing: how batches are made up, see `pcsearch.confusion.pairing`.
            seed: of order, crops and mirroring.
            device: where batches are delivered.
            channels_last: deliver images in that memory format.
        """
        self._windows = crop_windows(images, preprocessing.crop)
        self._labels = torch.from_numpy(np.ascontiguousarray(labels))
        self._indices = np.ascontiguousarray(indices, dtype=np.int64)
        self._preprocessing = preprocessing
        self._batch_size, self._pairing, self._seed = batch_size, pairing, seed
        self._device = torch.device(device)
        self._normalize = Normalizer(preprocessing, self._device, channels_last)
        self._length = num_batches(len(self._indices), batch_size, pairing)

    def __len__(self) -> int:
        """Batches an epoch."""
        return self._length

    @property
    def num_images(self) -> int:
        """Different images an epoch."""
        return len(self._indices)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch: float32 [B, 3, crop, crop] and int64 [B]."""
        batches = self._order(epoch)
        tops, lefts, flips = self._draws(epoch, np.concatenate(batches))
        start = 0
        for rows in batches:
            drawn = slice(start, start + len(rows))
            crops = gather_crops(self._windows, rows, tops[drawn], lefts[drawn])
            if self._preprocessing.flip:
                mirror(crops, flips[drawn])
            labels = self._labels[torch.from_numpy(rows)]
            yield self._normalize(crops), labels.to(self._device)
            start += len(rows)

    def _order(self, epoch: int) -> list[Int64Array]:
        """The rows of each batch of an epoch."""
        seed = np.random.SeedSequence((self._seed, epoch, _ORDER)).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(seed[0] >> 1))
        positions = epoch_batches(len(self._indices), self._batch_size, self._pairing, generator)
        return [self._indices[batch.numpy()] for batch in positions]

    def _draws(
        self, epoch: int, rows: Int64Array
    ) -> tuple[Int64Array, Int64Array, npt.NDArray[np.bool_]]:
        """Top, left and mirroring of each of `rows` (an epoch's, in order)."""
        places = self._windows.shape[1]
        table_rows = int(rows.max(initial=-1)) + 1
        times = _earlier_occurrences(rows)
        uniform = np.empty((len(rows), 3))
        for time in range(int(times.max(initial=-1)) + 1):
            rng = np.random.default_rng((self._seed, epoch, _CROPS, time))
            uniform[times == time] = rng.random((table_rows, 3))[rows[times == time]]
        tops, lefts = (uniform[:, :2] * places).astype(np.int64).T
        return tops, lefts, uniform[:, 2] < 0.5


class EvalBatches:
    """Batches in order, cropped at the centre exactly as torchvision's CenterCrop."""

    def __init__(
        self,
        images: UInt8Array,
        labels: Int64Array,
        indices: Int64Array | None,
        preprocessing: Preprocessing,
        *,
        batch_size: int,
        device: torch.device | str,
        channels_last: bool = False,
    ) -> None:
        """As for `TrainBatches`; `indices` None means all rows."""
        self._windows = crop_windows(images, preprocessing.crop)
        self._labels = torch.from_numpy(np.ascontiguousarray(labels))
        self._indices = (
            np.arange(len(images), dtype=np.int64)
            if indices is None
            else np.ascontiguousarray(indices, dtype=np.int64)
        )
        self._batch_size = batch_size
        self._margin = round((images.shape[1] - preprocessing.crop) / 2.0)
        self._device = torch.device(device)
        self._normalize = Normalizer(preprocessing, self._device, channels_last)

    def __len__(self) -> int:
        """Batches in all."""
        return -(-len(self._indices) // self._batch_size)

    @property
    def num_images(self) -> int:
        """Images in all."""
        return len(self._indices)

    def __iter__(self) -> Iterator[Batch]:
        """Float32 [B, 3, crop, crop] and int64 [B]."""
        for start in range(0, len(self._indices), self._batch_size):
            rows = self._indices[start : start + self._batch_size]
            margins = np.full(len(rows), self._margin)
            crops = gather_crops(self._windows, rows, margins, margins)
            labels = self._labels[torch.from_numpy(rows)]
            yield self._normalize(crops), labels.to(self._device)


def _earlier_occurrences(rows: Int64Array) -> Int64Array:
    """How often each entry has occurred before: [5, 3, 5, 5] gives [0, 0, 1, 2]."""
    order = np.argsort(rows, kind="stable")
    positions = np.arange(len(rows))
    starts_group = np.diff(rows[order], prepend=-1) != 0
    first = np.maximum.accumulate(np.where(starts_group, positions, 0))
    earlier = np.empty(len(rows), dtype=np.int64)
    earlier[order] = positions - first
    return earlier
