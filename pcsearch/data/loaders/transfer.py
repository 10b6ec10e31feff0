"""Where a batch's pixels come from: host memory, at once or in the background, or the device."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

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
)

Item = TypeVar("Item")


@dataclass(frozen=True)
class _Made(Generic[Item]):
    item: Item


@dataclass(frozen=True)
class _Ended:
    """The last thing in the queue, with what went wrong."""

    error: BaseException | None


def prefetched(items: Iterable[Item], depth: int) -> Generator[Item]:
    """The items in their order, of which up to `depth` are ready and one more is being made.

    The thread starts with the first `next` and has ended when the iterator is exhausted, closed
    or dropped. An exception of `items` is raised here, after the items before it.
    """
    if depth < 1:
        raise ValueError(f"depth is {depth}, but must be at least 1")
    ready: queue.Queue[_Made[Item] | _Ended] = queue.Queue(depth)
    stop = threading.Event()
    # daemon: an iterator that nobody closes must not keep the interpreter from ending
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
        while not ready.empty():  # makes room for the one `put` that may be waiting
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
    """Cuts crops out of a set of images."""

    def crops(self, wanted: Crops, batches: Sequence[slice]) -> Generator[Tensor]:
        """For each batch, a slice of `wanted`: new uint8 [B, crop, crop, 3] on the device."""


def open_feed(images: UInt8Array, crop: int, device: torch.device, residency: Residency) -> Feed:
    """The feed for these images.

    On the CPU that is always the mapped file itself, without a thread: cutting a batch takes less
    than a hundredth of the training step there, and a trial has one core. See `resident_images`
    for what `residency` means elsewhere.

    Raises UserError for crops that are larger than the images, and as `resident_images` does.
    """
    check_crop(images.shape[1:3], crop)
    if device.type == "cpu":
        return HostFeed(images, crop)
    resident = resident_images(images, device, residency)
    if resident is None:
        return StreamedFeed(HostFeed(images, crop), device)
    return ResidentFeed(resident, crop)


class HostFeed:
    """From an array in host memory, for example memory-mapped; never copied whole."""

    def __init__(self, images: UInt8Array, crop: int) -> None:
        self._windows = crop_windows(images, crop)
        self._file = MappedFile(images)

    def crops(self, wanted: Crops, batches: Sequence[slice]) -> Generator[Tensor]:
        """As `Feed.crops`, on the CPU.

        Raises ImagesChangedError when the mapped file was cut short, before reading what is gone,
        and after the last batch when it was written over meanwhile.
        """
        for batch in batches:
            self._file.check_length()
            cut = gather_crops(
                self._windows, wanted.rows[batch], wanted.tops[batch], wanted.lefts[batch]
            )
            if wanted.flips is not None:
                mirror(cut, wanted.flips[batch])
            yield torch.from_numpy(cut)
        self._file.check()


class StreamedFeed:
    """From host memory to a device: a thread cuts and sends batches while the device computes."""

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
        """Start copying; in the thread."""
        if self._stream is None:
            return _Sent(cut.to(self._device), None)
        with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            # PyTorch lends the pinned memory to nobody else before the copy out of it is done.
            on_device = cut.pin_memory().to(self._device, non_blocking=True)
            return _Sent(on_device, self._stream.record_event())

    def _receive(self, sent: _Sent) -> Tensor:
        """Let the computing stream, not the host, wait for the copy; in the consumer's thread."""
        if sent.copied is not None:
            computing = torch.cuda.current_stream(self._device)
            computing.wait_event(sent.copied)
            # The memory belongs to the copying stream: not to be reused there before it was read.
            sent.crops.record_stream(computing)
        return sent.crops


@dataclass(frozen=True)
class _Sent:
    """Crops on the device, there once `copied` has happened."""

    crops: Tensor
    copied: torch.cuda.Event | None


class ResidentFeed:
    """From images that lie on the device as a whole."""

    def __init__(self, images: Tensor, crop: int) -> None:
        """Take uint8 [n, R, R, 3]."""
        self._images = images
        self._crop = crop

    def crops(self, wanted: Crops, batches: Sequence[slice]) -> Generator[Tensor]:
        """As `Feed.crops`. The choices are sent once, so that no batch makes the device wait."""
        rows, tops, lefts = (
            torch.from_numpy(choice).to(self._images.device)
            for choice in (wanted.rows, wanted.tops, wanted.lefts)
        )
        flips = None
        if wanted.flips is not None:
            flips = torch.from_numpy(wanted.flips).to(self._images.device)
        for batch in batches:
            yield gather_resident(
                self._images,
                self._crop,
                rows[batch],
                tops[batch],
                lefts[batch],
                None if flips is None else flips[batch],
            )
