"""Batches for training and evaluation from the decoded images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pcsearch.data.augmentations import AUGMENTATIONS, Augmentation
from pcsearch.data.dataset import Int64Array, UInt8Array
from pcsearch.data.loaders.augment import (
    ORDER_STREAM,
    SAMPLING_STREAM,
    Crops,
    Draws,
    draw_parameters,
)
from pcsearch.data.loaders.device_cache import Residency
from pcsearch.data.loaders.pixels import Normalizer
from pcsearch.data.loaders.transfer import open_feed
from pcsearch.data.preprocessing import Preprocessing
from pcsearch.losses.pairing import epoch_batches, num_batches

Batch = tuple[Tensor, Tensor]


class EpochBatches(Protocol):
    """What a training takes: the batches of each epoch."""

    def __len__(self) -> int:
        """Number of batches in an epoch."""

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch, counted from 1."""


class TrainBatches:
    """Shuffled and augmented batches, epoch by epoch.

    An image's augmentation depends on (seed, epoch, its row) alone, not on the batch or the other
    images. So any worker can repeat an epoch exactly. If the pairing shows an image twice in an
    epoch, the second time has its own random numbers.
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
        sampling: str = "uniform",
        seed: int,
        device: torch.device | str,
        channels_last: bool = False,
        residency: Residency = "auto",
    ) -> None:
        """Prepare batches of some of the images.

        Args:
            images: uint8 [n, R, R, 3], for example memory-mapped; never copied whole on the CPU.
            labels: [n] classes.
            indices: the rows to train on.
            preprocessing: crop, mirroring, colours, erasing and normalisation.
            batch_size: images in a batch; the last batch of an epoch may be smaller.
            pairing: how batches are drawn, see `pcsearch.losses.pairing`.
            sampling: `uniform`, or `balanced` for `balanced_positions`, drawn anew each epoch.
            seed: of order and augmentation.
            device: the device of the batches.
            channels_last: deliver images in that memory format.
            residency: where the images are stored if the device is a GPU, see `resident_images`.

        Raises:
            UserError: crops are larger than the images, or the images do not fit on the device
                under residency `device`.
        """
        self._supply = _Supply(
            images, labels, preprocessing, torch.device(device), channels_last, residency
        )
        self._indices = np.ascontiguousarray(indices, dtype=np.int64)
        self._preprocessing = preprocessing
        self._own_labels = np.ascontiguousarray(labels[self._indices])
        self._balanced = sampling == "balanced"
        self._places = images.shape[1] - preprocessing.crop + 1
        self._batch_size, self._pairing, self._seed = batch_size, pairing, seed
        self._length = num_batches(len(self._indices), batch_size, pairing)

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return self._length

    @property
    def num_images(self) -> int:
        """Number of images to train on."""
        return len(self._indices)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch: float32 [B, 3, crop, crop] and int64 [B]."""
        draws, sizes = self.draws(epoch)
        if sizes:
            yield from self._supply.batches(draws, sizes)

    def draws(self, epoch: int) -> tuple[Draws, list[int]]:
        """The random choices for the images of an epoch, in order, and the batches' sizes."""
        batches = self._order(epoch)
        rows = np.concatenate(batches) if batches else np.empty(0, dtype=np.int64)
        draws = draw_parameters(self._preprocessing, self._places, self._seed, epoch, rows)
        return draws, [len(batch) for batch in batches]

    def _order(self, epoch: int) -> list[Int64Array]:
        """The rows of each batch of an epoch.

        The pairing draws its batches from the images of the epoch, some of them repeated if classes
        are balanced, as it would from different images.
        """
        rows, labels = self._indices, self._own_labels
        if self._balanced:
            rng = np.random.default_rng((self._seed, epoch, SAMPLING_STREAM))
            chosen = balanced_positions(labels, rng)
            rows, labels = rows[chosen], labels[chosen]
        sequence = np.random.SeedSequence((self._seed, epoch, ORDER_STREAM))
        generator = torch.Generator()
        generator.manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> 1))
        positions = epoch_batches(
            len(rows), self._batch_size, self._pairing, generator, torch.from_numpy(labels)
        )
        return [rows[batch.numpy()] for batch in positions]


def balanced_positions(labels: Int64Array, rng: np.random.Generator) -> Int64Array:
    """As many positions as there are labels, with each class as often as any other.

    So are the images of a class among themselves. Where a number is not divisible, some classes or
    images come once more; which ones is drawn.
    """
    order = np.argsort(labels, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    shares = _evenly(len(labels), len(members), rng)
    drawn = [
        np.repeat(own, _evenly(int(share), len(own), rng))
        for own, share in zip(members, shares, strict=True)
    ]
    return np.concatenate(drawn)


def _evenly(total: int, parts: int, rng: np.random.Generator) -> Int64Array:
    """Counts [parts] that add up to `total` and differ by at most 1; who gets more is drawn."""
    least, more = divmod(total, max(1, parts))
    counts = np.full(parts, least, dtype=np.int64)
    counts[rng.permutation(parts)[:more]] += 1
    return counts


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
        residency: Residency = "auto",
    ) -> None:
        """As for `TrainBatches`; `indices` None means all rows."""
        self._supply = _Supply(
            images, labels, preprocessing, torch.device(device), channels_last, residency
        )
        rows = np.arange(len(images)) if indices is None else indices
        self._rows = np.ascontiguousarray(rows, dtype=np.int64)
        self._batch_size = batch_size
        self._margin = round((images.shape[1] - preprocessing.crop) / 2.0)

    def __len__(self) -> int:
        """Number of batches."""
        return -(-len(self._rows) // self._batch_size)

    @property
    def num_images(self) -> int:
        """Number of images."""
        return len(self._rows)

    @property
    def rows(self) -> Int64Array:
        """[I] the images' rows among the decoded images, in order."""
        return self._rows

    def __iter__(self) -> Iterator[Batch]:
        """Float32 [B, 3, crop, crop] and int64 [B]."""
        margins = np.full(len(self._rows), self._margin)
        draws = Draws(Crops(self._rows, margins, margins))
        starts = range(0, len(self._rows), self._batch_size)
        sizes = [min(self._batch_size, len(self._rows) - start) for start in starts]
        return self._supply.batches(draws, sizes)


class _Supply:
    """Makes batches from given crops, for training and for evaluation."""

    def __init__(
        self,
        images: UInt8Array,
        labels: Int64Array,
        preprocessing: Preprocessing,
        device: torch.device,
        channels_last: bool,
        residency: Residency,
    ) -> None:
        self._feed = open_feed(images, preprocessing.crop, device, residency)
        self._labels = np.ascontiguousarray(labels)
        self._normalize = Normalizer(preprocessing, device, channels_last)
        self._device = device

    def batches(self, draws: Draws, sizes: list[int]) -> Iterator[Batch]:
        """The images of `draws` in their order, in batches of the given sizes."""
        bounds = np.cumsum([0, *sizes]).tolist()
        parts = [slice(start, stop) for start, stop in pairwise(bounds)]
        # Sent once, not batch by batch: each transfer would make a GPU wait for its queue.
        labels = torch.from_numpy(self._labels[draws.crops.rows]).to(self._device)
        parameters = {
            name: self._sent(AUGMENTATIONS[name], values)
            for name, values in draws.augmented.items()
        }
        with closing(self._feed.crops(draws.crops, parts)) as cuts:
            for part, crops in zip(parts, cuts, strict=True):
                changes = [(AUGMENTATIONS[name], parameters[name][part]) for name in parameters]
                images = self._normalize(crops, [one for one in changes if one[0].on != "inputs"])
                for augmentation, values in changes:
                    if augmentation.on == "inputs" and augmentation.apply is not None:
                        augmentation.apply(images, values)
                yield images, labels[part]

    def _sent(self, augmentation: Augmentation, values: npt.NDArray[Any]) -> Any:
        """On the device, but for operations: they choose kernels, so the host reads them."""
        if augmentation.on == "operations":
            return values
        return torch.from_numpy(values).to(self._device)
