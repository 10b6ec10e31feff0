"""A campaign that ends before it is done: Ctrl-C, or a journal that can no longer be written."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Protocol

GRACE_SECONDS = 5.0
"""After the first Ctrl-C, how long running trials have to end their epoch and write it down."""


class Marker(Protocol):
    """What tells workers that the campaign stops and means to go on later: a file, or like one."""

    def touch(self) -> None: ...

    def unlink(self, missing_ok: bool = False) -> None: ...


class Ending:
    """Whether the campaign is to end, how soon, and why.

    The first Ctrl-C asks for a clean end: nothing new is started, and each running trial may end
    its epoch and write a checkpoint, within seconds. The second one raises KeyboardInterrupt. An
    error in the driver, caught by `guard`, ends it without grace.

    Args:
        marker: What tells workers to write a checkpoint at the end of every epoch.
        grace_seconds: How long the clean end may take.
    """

    def __init__(self, marker: Marker, grace_seconds: float = GRACE_SECONDS) -> None:
        self.error: Exception | None = None
        self._marker = marker
        self._grace = grace_seconds
        self._asked = threading.Event()
        self._until = 0.0

    @property
    def requested(self) -> bool:
        """Whether nothing new is to be started, and lost workers do not matter any more."""
        return self._asked.is_set()

    @property
    def timed_out(self) -> bool:
        """Whether what still runs has had its time."""
        return self.requested and (self.error is not None or time.monotonic() >= self._until)

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """Keep the first error in what the driver decides, for the end; Ray Tune would wrap it."""
        try:
            yield
        except Exception as error:
            if self.error is None:
                self.error = error
            self._asked.set()

    @contextlib.contextmanager
    def on_ctrl_c(self) -> Iterator[None]:
        """Listen to Ctrl-C (in the main thread; elsewhere it is not ours); clear the marker."""
        with contextlib.suppress(OSError):
            self._marker.unlink(missing_ok=True)
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = signal.signal(signal.SIGINT, self._handle)
        try:
            raised = getattr(previous, "raised", None)
            if callable(previous) and raised is not None:  # some library has swallowed that
                previous(raised, None)
            yield
        finally:
            signal.signal(signal.SIGINT, previous)
            with contextlib.suppress(OSError):
                self._marker.unlink(missing_ok=True)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._asked.is_set():
            raise KeyboardInterrupt
        self._until = time.monotonic() + self._grace
        self._asked.set()
        with contextlib.suppress(
            OSError
        ):  # then what was trained since the last checkpoint is lost
            self._marker.touch()
