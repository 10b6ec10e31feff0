"""Ctrl-C and SIGTERM while Ray starts in a thread, runs and ends: one orderly way out."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

TERMINATED = 128 + signal.SIGTERM
"""Exit code of a process that was asked to end, as a shell has it."""

_AGAIN_SECONDS = 0.05
_IMPORT_SECONDS = 3.0  # for as long an import may go on: one of a user's may never end


class _OrderlyEnd:
    """A handler of SIGINT and SIGTERM; see `orderly_end`.

    Attributes:
        raised: the signal that an exception was raised for. Whoever finds it while the program
            goes on knows that some library has swallowed the exception, and calls this again.
        ending: set once the end has begun.
    """

    def __init__(self, starting: Callable[[], bool]) -> None:
        self.raised: int | None = None
        self.ending = threading.Event()
        self._starting = starting
        self._heard: float | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGTERM:
            # Ray's native handler heard it first, and would abort the process three seconds later
            signal.alarm(0)
        if self.ending.is_set():
            return
        self._heard = self._heard or time.monotonic()
        if _imports(frame) and (
            self._starting() or self._heard + _IMPORT_SECONDS > time.monotonic()
        ):
            main = threading.main_thread().ident or 0  # which may be waiting by then: wake it
            again = threading.Timer(_AGAIN_SECONDS, signal.pthread_kill, [main, number])
            again.daemon = True
            again.start()
            return
        self.raised = number
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(TERMINATED)


@contextmanager
def orderly_end(starting: Callable[[], bool]) -> Iterator[Callable[[], None]]:
    """End in an orderly way on Ctrl-C and on SIGTERM; other than in the main thread, do nothing.

    Either raises as usual (KeyboardInterrupt, SystemExit), but not in the middle of an import: a
    library may take it for an optional module that is missing, and while the other thread starts
    Ray, a lock would stay held that the thread may wait for for ever. A program's own handler of
    Ctrl-C is left alone, unless it says by an attribute `raises_keyboard_interrupt` that it does
    as Python's does.

    Args:
        starting: whether the other thread is still at it.

    Yields what to call when the end has begun: from then on both signals are ignored, so that a
    second Ctrl-C leaves no process of Ray's behind.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    handle = _OrderlyEnd(starting)
    numbers = [signal.SIGTERM]
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler or hasattr(usual, "raises_keyboard_interrupt"):
        numbers.append(signal.SIGINT)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield handle.ending.set
    except SystemExit:
        # raised while Ray waits for something, it comes back as another, with code 1
        if handle.raised == signal.SIGTERM:
            sys.exit(TERMINATED)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def exit_when_told() -> Iterator[None]:
    """Leave by SystemExit when the terminal is closed or on SIGTERM, so that what is open closes.

    Other than in the main thread, do nothing; where a signal is ignored or has a handler already,
    that stays.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    ours = [n for n in (signal.SIGHUP, signal.SIGTERM) if signal.getsignal(n) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _imports(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
