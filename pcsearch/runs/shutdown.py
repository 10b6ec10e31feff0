"""Early end of a campaign: by Ctrl-C, or because the journal cannot be written."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Protocol

GRACE_SECONDS = 5.0
"""Time for running trials to end their epoch and checkpoint after the first Ctrl-C."""


class Marker(Protocol):
    """Tells workers that the campaign stops and may be resumed: a file, or similar."""

    def touch(self) -> None: ...

    def unlink(self, missing_ok: bool = False) -> None: ...


class Ending:
    """Whether the campaign ends, how soon, and why.

    The first Ctrl-C requests a clean end: nothing new starts, and each running trial has some
    seconds to end its epoch and write a checkpoint. The second raises KeyboardInterrupt. An error
    in the driver, caught by `guard`, ends the campaign without grace.

    Args:
        marker: Tells workers to write a checkpoint after every epoch.
        grace_seconds: Longest time of the clean end.
    """

    def __init__(self, marker: Marker, grace_seconds: float = GRACE_SECONDS) -> None:
        self.error: Exception | None = None
        self._marker = marker
        self._grace = grace_seconds
        self._asked = threading.Event()
        self._until = 0.0

    @property
    def requested(self) -> bool:
        """Whether an end is requested: start nothing new, and ignore lost workers."""
        return self._asked.is_set()

    @property
    def timed_out(self) -> bool:
        """Whether the time of running trials is over."""
        return self.requested and (self.error is not None or time.monotonic() >= self._until)

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """Keep the driver's first error for the end; Ray Tune would wrap it."""
        try:
            yield
        except Exception as error:
            if self.error is None:
                self.error = error
            self._asked.set()

    @contextlib.contextmanager
    def on_ctrl_c(self) -> Iterator[None]:
        """Handle Ctrl-C (only the main thread can); clear the marker."""
        with contextlib.suppress(OSError):
            self._marker.unlink(missing_ok=True)
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = signal.signal(signal.SIGINT, self._handle)
        try:
            raised = getattr(previous, "raised", None)
            if callable(previous) and raised is not None:  # a library has swallowed it
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
        # without the marker, epochs since the last checkpoint are lost
        with contextlib.suppress(OSError):
            self._marker.touch()
