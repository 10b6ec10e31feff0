"""Orderly exit on Ctrl-C, SIGTERM and SIGHUP while Ray starts in a thread, runs and ends."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_AGAIN_SECONDS = 0.05
_IMPORT_SECONDS = 3.0  # longest wait for an import: a user's own may never end


class _OrderlyEnd:
    """A handler of SIGINT, SIGTERM and SIGHUP; see `orderly_end`.

    Attributes:
        raised: The signal that an exception was raised for. If the program still runs, a library
            swallowed the exception, and the caller calls this handler again.
        ending: Set once the end has begun.
    """

    def __init__(self, starting: Callable[[], bool]) -> None:
        self.raised: int | None = None
        self.ending = threading.Event()
        self._starting = starting
        self._heard: float | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGTERM:
            # Ray's native handler ran first, and would abort the process three seconds later.
            signal.alarm(0)
        if self.ending.is_set():
            return
        self._heard = self._heard or time.monotonic()
        if _imports(frame) and (
            self._starting() or self._heard + _IMPORT_SECONDS > time.monotonic()
        ):
            main = threading.main_thread().ident or 0  # a signal also wakes it from waiting
            again = threading.Timer(_AGAIN_SECONDS, signal.pthread_kill, [main, number])
            again.daemon = True
            again.start()
            return
        self.raised = number
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        if number == signal.SIGHUP:
            _leave_terminal()
        sys.exit(128 + number)  # as a shell shows it


@contextmanager
def orderly_end(starting: Callable[[], bool]) -> Iterator[Callable[[], None]]:
    """End in an orderly way on Ctrl-C, SIGTERM and SIGHUP (a closed terminal).

    Outside of the main thread, do nothing. They raise as usual (KeyboardInterrupt, SystemExit),
    but never during an import:

    - A library may take the exception for a missing optional module.
    - While the other thread starts Ray, an import lock would stay held, and that thread may wait
      for it for ever.

    A SIGHUP that is ignored stays so, as nohup wants. A program's own handler of Ctrl-C stays,
    unless its attribute `raises_keyboard_interrupt` says that it raises like Python's.

    Args:
        starting: Whether the other thread still starts Ray.

    Yields a function to call when the end begins. Afterwards all are ignored, so a second
    Ctrl-C leaves no process of Ray's behind.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    handle = _OrderlyEnd(starting)
    numbers = [signal.SIGTERM]
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler or hasattr(usual, "raises_keyboard_interrupt"):
        numbers.append(signal.SIGINT)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield handle.ending.set
    except SystemExit:
        # If it is raised while Ray waits, Ray turns it into another one, with code 1.
        if handle.raised in (signal.SIGTERM, signal.SIGHUP):
            sys.exit(128 + handle.raised)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def exit_when_told() -> Iterator[None]:
    """Raise SystemExit on SIGHUP (a closed terminal) and SIGTERM, so that open contexts close.

    Outside of the main thread, do nothing. Signals that are ignored or have a handler stay so.
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


def _leave_terminal() -> None:
    """Lead output for a closed terminal nowhere: an error in writing would replace the end's."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (1, 2):
        if _is_terminal(descriptor):
            os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _is_terminal(descriptor: int) -> bool:
    """Whether it is a terminal, closed or not: `isatty` denies a closed one."""
    try:
        return os.ttyname(descriptor) != ""
    except OSError as error:
        return error.errno == errno.EIO


def _imports(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
