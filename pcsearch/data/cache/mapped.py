"""The file below memory-mapped images, which others may change while they are read."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np

from pcsearch.data.dataset import UInt8Array
from pcsearch.errors import PcsearchError


class ImagesChangedError(PcsearchError):
    """Decoded images changed on disk below a process that reads them.

    What it read last may be wrong; a process that opens them anew finds them whole, or decodes them
    again. So a training that fails with this is begun again in a new one.
    """


class MappedFile:
    """The file below an array, as it was when this was made; an array without one never changes.

    Reading beyond the end of a file that was cut short ends the process (SIGBUS), and one that is
    written over has other pixels without a sign. A file that was removed, or replaced by another,
    stays as it is for those that have mapped it.
    """

    def __init__(self, images: UInt8Array) -> None:
        self._mapping = _mapping(images)
        name = images.filename if isinstance(images, np.memmap) else None
        self._path = None if name is None or self._mapping is None else Path(name)
        self._bytes = 0 if self._mapping is None else self._mapping.size()
        self._status = self._look()

    @property
    def changed(self) -> bool:
        """Whether the file was cut short or written over; looks at sizes and times alone."""
        if self._cut_short():
            return True
        now = self._look()
        if now is None or self._status is None:
            return False
        same_file = now[:2] == self._status[:2]
        return same_file and now != self._status

    def check_length(self) -> None:
        """Raise ImagesChangedError if the file was cut short; takes a microsecond."""
        if self._cut_short():
            raise self._error()

    def check(self) -> None:
        """Raise ImagesChangedError if the file has changed."""
        if self.changed:
            raise self._error()

    def _cut_short(self) -> bool:
        try:
            return self._mapping is not None and self._mapping.size() < self._bytes
        except OSError:  # a file on another machine, which has removed it
            return True

    def _look(self) -> tuple[int, ...] | None:
        """Device, inode, size and time of the file that has the name now."""
        if self._path is None:
            return None
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns

    def _error(self) -> ImagesChangedError:
        return ImagesChangedError(
            f"the decoded images {self._path} were cut short or written over while a training read "
            "them; when they are opened next, they are decoded again"
        )


def _mapping(images: UInt8Array) -> mmap.mmap | None:
    """The mapping that an array, or what it is a view of, lies in."""
    below: object = images
    while isinstance(below, np.ndarray):
        below = below.base
    return below if isinstance(below, mmap.mmap) else None
