"""The campaign's journal: one JSON object a line, appended and fsynced before it takes effect.

The journal is the only record of a campaign. Its writer is the driver alone; readers may look at
any time. A last line torn by a crash is not an event yet and is cut off by the next writer. Every
line is sealed over those before it, see `lines.py`.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from pcsearch.errors import UserError
from pcsearch.regular_files import open_regular, open_to_append
from pcsearch.search.events import Event, NewerError, check_event
from pcsearch.search.history import History
from pcsearch.search.lines import LINE_BYTES, Chain, encode, parse_line, sealed

__all__ = [
    "LINE_BYTES",
    "Chain",
    "Event",
    "FileJournal",
    "Journal",
    "MemoryJournal",
    "encode",
    "parse_line",
    "read_events",
]

_TAIL_BYTES = 2**16


class Journal(Protocol):
    """Where a campaign writes its events."""

    def append(self, event: Event) -> None: ...


class MemoryJournal:
    """A journal that is not kept, for simulations and tests."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def append(self, event: Event) -> None:
        self.events.append(json.loads(encode(event)))


class FileJournal:
    """An append-only file; `append` returns when the event is on disk.

    Raises:
        OSError: the file cannot be written, or is a link or no regular file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = open_to_append(path)
        self._torn = False
        try:
            self._end = _whole_bytes(self._descriptor)
            self._cut()
            self._head = _head_of(path)
            _sync_folder(path.parent)
        except BaseException:
            self.close()
            raise

    def append(self, event: Event) -> None:
        """Write an event; it is on disk when this returns, and not in the file when this raises.

        Raises:
            OSError: it cannot be written. A later event may be, when there is room again; when
                not even what was half written could be taken back, none is taken any more.
        """
        if self._torn:
            raise OSError(errno.EIO, "ends in half an event, so no more is written", str(self.path))
        line, head = sealed(event, self._head)
        try:
            self._write(line)
        except BaseException:  # a signal may come between two parts of a line, too
            self._torn = True
            with contextlib.suppress(OSError):
                self._cut()
                self._torn = False
            raise
        self._end += len(line)
        self._head = head

    def _write(self, line: bytes) -> None:
        try:
            written = 0
            while written < len(line):
                written += os.write(self._descriptor, line[written:])
            os.fsync(self._descriptor)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    def _cut(self) -> None:
        """Cut off what comes after the last whole event."""
        if os.fstat(self._descriptor).st_size > self._end:
            os.ftruncate(self._descriptor, self._end)
            os.fsync(self._descriptor)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read_events(path: Path, chain: Chain | None = None) -> Iterator[Event]:
    """Yield a journal's events, each checked by itself and against those before it.

    A torn last line is left out. `chain` takes note of lines whose seal does not fit; they are
    yielded all the same, so that what the journal says can be looked at.

    Raises:
        UserError: the file cannot be read, or a line is not an event that could be there; with
            the line's number.
    """
    history, chain = History(), chain or Chain()
    for number, line in enumerate(_whole_lines(path), start=1):
        try:
            event = check_event(chain.take(line))
            history.take(event)
        except NewerError as error:
            raise UserError(f"{path}:{number}: this line cannot be read: {error}") from None
        except ValueError as error:
            keep = f", or keep its first {number - 1} lines to go on from there"
            raise UserError(
                f"{path}:{number}: this line does not belong here: {error}; the journal is "
                f"damaged: restore it from a copy{keep if number > 1 else ''}"
            ) from None
        yield event


def _head_of(path: Path) -> str:
    """What the next line's seal is over; a journal without seals is read whole for it."""
    chain = Chain()
    for line in _whole_lines(path):
        with contextlib.suppress(ValueError):  # its readers say what is wrong with it
            chain.follow(line)
    return chain.head


def _whole_lines(path: Path) -> Iterator[bytes]:
    """Lines without their ends, one more byte than `LINE_BYTES` at most of each."""
    try:
        with open_regular(path) as file:
            while (line := file.readline(LINE_BYTES + 1)).endswith(b"\n"):
                yield line[:-1]
            if len(line) > LINE_BYTES:
                yield line
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def _whole_bytes(descriptor: int) -> int:
    """Where the last whole line ends; OSError where that is farther back than a torn line is."""
    size = end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - _TAIL_BYTES)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
        if size - end > LINE_BYTES:
            raise OSError(errno.EINVAL, "ends in what is no event, nor a part of one")
    return 0


def _sync_folder(folder: Path) -> None:
    """Make a new file's name last; some file systems cannot sync a folder."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
