"""Bring a batch's pixels to the device: from host memory, directly or by a thread, or on it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from pcsearch.data.cache.files import MappedFile
from pcsearch.data.dataset import UInt8Array
from pcsearch.data.loaders.augment import Crops
from pcsearch.data.loaders.device_cache import Residency, resident_images
from pcsearch.data.loaders.pixels import (
    check_crop,
    crop_windows,
    gather_crops,
    gather_resident,
    mirror,
    mirrored,
    resized_window,
)

Item = TypeVar("Item")


@dataclass(frozen=True)
class _Made(Generic[Item]):
    item: Item


@dataclass(frozen=True)
class _Ended:
    """The last item in the queue, with the exception of the thread."""

    error: BaseException | None


def prefetched(items: Iterable[Item], depth: int) -> Generator[Item]:
    """The items in their order, made ahead by a thread: up to `depth` ready and one in the making.

    The thread starts with the first `next`. It has ended when the iterator is exhausted, closed or
    dropped. An exception of `items` is raised here, after the items before it.
    """
    if depth < 1:
        raise ValueError(f"depth is {depth}, but must be at least 1")
    ready: queue.Queue[_Made[Item] | _Ended] = queue.Queue(depth)
    stop = threading.Event()
    # daemon: an iterator that is never closed must not block the interpreter's exit
    thread = threading.Thread(
        target=_make, args=(items, ready, stop), name="pcsearch-prefetch", daemon=True
    )
    thread.start()
    try:
        while isinstance(made := ready.get(), _Made):
            yield made.item
        if made.error is not None:
            raise made.error
    finally:
        stop.set()
        while not ready.empty():  # the thread may wait for room in the queue
            ready.get_nowait()
        thread.join()


def _make(
    items: Iterable[Item], ready: queue.Queue[_Made[Item] | _Ended], stop: threading.Event
) -> None:
    error: BaseException | None = None
    try:
        for item in items:
            ready.put(_Made(item))
            if stop.is_set():
                return
    except BaseException as raised:
        error = raised
    if not stop.is_set():
        ready.put(_Ended(error))


_BATCHES_AHEAD = 2


class Feed(Protocol):
    """Crops images of a set."""

    def crops(self, wanted: Crops, batches: Sequence[slice]) -> Generator[Tensor]:
        """For each batch, a slice of `wanted`: new uint8 [B, crop, crop, 3] on the device."""


def open_feed(images: UInt8Array, crop: int, device: torch.device, residency: Residency) -> Feed:
    """The feed for these images.

    On the CPU it is always the mapped file, without a thread: there cropping a batch takes less
    than a hundredth of the training step, and a trial has one core. For `residency` on other
    devices see `resident_images`.

    Raises:
        UserError: crops are larger than the images; and as `resident_images`.
    """
    check_crop(images.shape[1:3], crop)
    if device.type == "cpu":
        return HostFeed(images, crop)
    resident = resident_images(images, device, residency)
    if resident is None:
        return StreamedFeed(HostFeed(images, crop), device)
    return ResidentFeed(resident, crop)


def windows_of(wanted: Crops, batch: slice) -> list[tuple[int, slice, slice]]:
    """For each crop of a batch with sizes of its own: its image, its lines and its columns."""
    assert wanted.sizes is not None
    rows, tops, lefts = (one[batch].tolist() for one in (wanted.rows, wanted.tops, wanted.lefts))
    return [
        (row, slice(top, top + height), slice(left, left + width))
        for row, top, left, (height, width) in zip(
            rows, tops, lefts, wanted.sizes[batch].tolist(), strict=True
        )
    ]


class HostFeed:
    """Crops from an array in host memory, for example memory-mapped. It is never copied whole."""

    def __init__(self, images: UInt8Array, crop: int) -> None:
        self._images, self._crop = images, crop
        self._windows = crop_windows(images, crop)
        self._file = MappedFile(images)

    def crops(self, wanted: Crops, batches: Sequence[slice]) -> Generator[Tensor]:
        """As `Feed.crops`, on the CPU.

        Raises:
            ImagesChangedError: the mapped file was truncated (raised before reading beyond its
                end), or written over (raised after the last batch).
        """
        for batch in batches:
            self._file.check_length()
            cut = (
                gather_crops(
                    self._windows, wanted.rows[batch], wanted.tops[batch], wanted.lefts[batch]
                )
                if wanted.sizes is None
                else self._resized(wanted, batch)
            )
            if wanted.flips is not None:
                mirror(cut, wanted.flips[batch])
            yield torch.from_numpy(cut)
        self._file.check()

    def _resized(self, wanted: Crops, batch: slice) -> UInt8Array:
        """The windows of a batch, each resized to the crop's side."""
        places = windows_of(wanted, batch)
        cut = np.empty((len(places), self._crop, self._crop, 3), np.uint8)
        for one, place in zip(cut, places, strict=True):
            window = torch.from_numpy(np.array(self._images[place]))
            one[:] = resized_window(window, self._crop).numpy()
        return cut


class StreamedFeed:
    """From host memory to a device: a thread crops and sends batches while the device computes."""

    def __init__(self, host: HostFeed, device: torch.device) -> None:
        self._host = host
        self._device = device
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def crops(self, wanted: Crops, batches: Sequence[slice]) -> Generator[Tensor]:
        """As `Feed.crops`; close the iterator to end the thread early."""
        sent = (self._send(cut) for cut in self._host.crops(wanted, batches))
        with closing(prefetched(sent, _BATCHES_AHEAD)) as arriving:
            for one in arriving:
                yield self._receive(one)

    def _send(self, cut: Tensor) -> _Sent:
        """Start copying. Runs in the thread."""
        if self._stream is None:
            return _Sent(cut.to(self._device), None)
        with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            # PyTorch does not reuse the pinned memory before the copy is done.
            on_device = cut.pin_memory().to(self._device, non_blocking=True)
            return _Sent(on_device, self._stream.record_event())

    def _receive(self, sent: _Sent) -> Tensor:
        """Make the computing stream, not the host, wait for the copy. Runs in the consumer."""
        if sent.copied is not None:
            computing = torch.cuda.current_stream(self._device)
            computing.wait_event(sent.copied)
            # The memory belongs to the copying stream, which must not reuse it before it is read.
            sent.crops.record_stream(computing)
        return sent.crops


@dataclass(frozen=True)
class _Sent:
    """Crops on the device, complete after the event `copied`."""

    crops: Tensor
    copied: torch.cuda.Event | None


class ResidentFeed:
    """Crops from a whole set of images on the device."""

    def __init__(self, images: Tensor, crop: int) -> None:
        """Take uint8 [n, R, R, 3]."""
        self._images = images
        self._crop = crop

    def crops(self, wanted: Crops, batches: Sequence[slice]) -> Generator[Tensor]:
        """As `Feed.crops`. Positions and flips are sent once, so no batch makes the device wait."""
        rows, tops, lefts = (
            torch.from_numpy(choice).to(self._images.device)
            for choice in (wanted.rows, wanted.tops, wanted.lefts)
        )
        flips = None
        if wanted.flips is not None:
            flips = torch.from_numpy(wanted.flips).to(self._images.device)
        for batch in batches:
            flipped = None if flips is None else flips[batch]
            if wanted.sizes is None:
                yield gather_resident(
                    self._images, self._crop, rows[batch], tops[batch], lefts[batch], flipped
                )
            else:
                cut = self._resized(wanted, batch)
                yield cut if flipped is None else mirrored(cut, flipped)

    def _resized(self, wanted: Crops, batch: slice) -> Tensor:
        places = windows_of(wanted, batch)
        cut = self._images.new_empty((len(places), self._crop, self._crop, 3))
        for one, place in zip(cut, places, strict=True):
            one.copy_(resized_window(self._images[place], self._crop))
        return cut
