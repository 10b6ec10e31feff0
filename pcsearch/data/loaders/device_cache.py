"""Copies of image sets on a GPU, made once for all trials of a process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Literal
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor

from pcsearch.data.dataset import UInt8Array
from pcsearch.errors import UserError

Residency = Literal["auto", "device", "host"]
"""Where a GPU's images are stored: on the GPU, in host memory, or chosen by free memory."""

AUTO_SHARE = 0.25
"""`auto` copies a set that takes at most this share of the free memory. Each trial that shares a
GPU holds its own copy and needs several times as much memory for its training."""

_KEPT_SETS = 2  # the training and the test images of one dataset
_CHUNK_BYTES = 64 * 2**20

_Key = tuple[object, ...]
_FreeBytes = Callable[[torch.device], int]


def resident_images(
    images: UInt8Array, device: torch.device, residency: Residency
) -> Tensor | None:
    """The images on a GPU, or None if batches must be cropped on the host.

    A memory-mapped file is copied once a process and shared. Copies that are kept between trials
    are freed when another set needs the memory.

    Args:
        images: uint8 [n, R, R, 3].
        device: a CUDA device; on any other, only residency `device` copies.
        residency: `device` always copies; `host` never does; `auto` copies if the images take at
            most a quarter of the free memory and the allocation succeeds.

    Raises:
        UserError: the images do not fit under residency `device`.
    """
    if residency == "host" or (residency == "auto" and device.type != "cuda"):
        return None
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    return _SETS.fetch(images, device, residency, cuda_free_bytes)


class ResidentSets:
    """Copies of image sets, keyed by file and device.

    The last few are kept even if unused. The others are freed when they are no longer used.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[_Key, Tensor] = OrderedDict()
        self._alive: WeakValueDictionary[_Key, Tensor] = WeakValueDictionary()

    def fetch(
        self, images: UInt8Array, device: torch.device, residency: Residency, free: _FreeBytes
    ) -> Tensor | None:
        """As `resident_images`, for `auto` or `device`. `free` returns a device's free bytes."""
        key = _file_key(images, device)
        found = self._alive.get(key) if key is not None else None
        if found is None:
            if residency == "auto" and not self._has_room(images, device, free):
                return None
            found = _copied(images, device)
        if found is None:
            self._release(device)
            found = _copied(images, device)
        if found is not None:
            self._keep(key, found)
        elif residency == "device":
            raise UserError(_too_large(images, device, free))
        return found

    def _has_room(self, images: UInt8Array, device: torch.device, free: _FreeBytes) -> bool:
        if images.nbytes > AUTO_SHARE * free(device):
            self._release(device)
        return images.nbytes <= AUTO_SHARE * free(device)

    def _keep(self, key: _Key | None, copy: Tensor) -> None:
        if key is None:
            return
        self._alive[key] = copy
        self._kept[key] = copy
        self._kept.move_to_end(key)
        while len(self._kept) > _KEPT_SETS:
            self._kept.popitem(last=False)

    def _release(self, device: torch.device) -> None:
        self._kept.clear()
        if device.type == "cuda":
            torch.cuda.empty_cache()


_SETS = ResidentSets()


def cuda_free_bytes(device: torch.device) -> int:
    """Bytes that this process can still allocate on a CUDA device."""
    free, total = torch.cuda.mem_get_info(device)
    allocated = torch.cuda.memory_allocated(device)
    cached = torch.cuda.memory_reserved(device) - allocated
    allowance = int(total * torch.cuda.get_per_process_memory_fraction(device)) - allocated
    return max(0, min(free + cached, allowance))


def _copied(images: UInt8Array, device: torch.device) -> Tensor | None:
    """A copy on the device, made piece by piece; None if there is too little memory."""
    try:
        copy = torch.empty(images.shape, dtype=torch.uint8, device=device)
    except (RuntimeError, MemoryError) as error:
        if not _out_of_memory(error):
            raise
        return None
    step = max(1, _CHUNK_BYTES // max(1, images[:1].nbytes))
    for start in range(0, len(images), step):
        # a writable copy: PyTorch warns of read-only arrays
        piece = np.array(images[start : start + step])
        copy[start : start + step].copy_(torch.from_numpy(piece))
    return copy


def _out_of_memory(error: Exception) -> bool:
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or "can't allocate memory" in str(error)


def _file_key(images: UInt8Array, device: torch.device) -> _Key | None:
    """A key of an array that maps a whole read-only file; None for other arrays."""
    if not isinstance(images, np.memmap) or images.filename is None or images.flags.writeable:
        return None
    try:
        status = Path(images.filename).stat()
    except OSError:
        return None
    if not images.flags.c_contiguous or images.offset + images.nbytes != status.st_size:
        return None
    identity = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
    return (*identity, images.shape, str(device))


def _too_large(images: UInt8Array, device: torch.device, free: _FreeBytes) -> str:
    return (
        f"the decoded images take {_size(images.nbytes)}, but {device} has {_size(free(device))} "
        "free: set resources.residency=host to keep them in host memory (or auto, to copy them "
        "only if there is room), or choose a smaller image.resize"
    )


def _size(number_of_bytes: int) -> str:
    return f"{number_of_bytes / 2**30:.2f} GiB"
