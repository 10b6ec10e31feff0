"""Ctrl-C at the command line: heard from a command's first moment to its last, and told."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType

EXIT_INTERRUPTED = 128 + signal.SIGINT
GO_ON = "interrupted; `pcsearch resume` goes on with what has begun"
_NOTHING_BEGAN = "interrupted before anything began; the same command starts it again"


class CtrlC:
    """A handler of SIGINT that says in any case what to do next, and ends with exit code 130.

    Python's own handler raises wherever the program happens to be: in the middle of an import, or
    of the words about the Ctrl-C before.

    Args:
        words: What is told.
        clean_up: Whether the first Ctrl-C raises KeyboardInterrupt. Else, as after the second one,
            the process ends at once.
    """

    raises_keyboard_interrupt = True

    def __init__(self, words: str, *, clean_up: bool) -> None:
        self._words = words
        self._at_once = not clean_up
        self._told = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._at_once:
            self.tell()
            os._exit(EXIT_INTERRUPTED)
        self._at_once = True
        raise KeyboardInterrupt

    def tell(self) -> None:
        """Say it once, past buffers whose lock the interrupted code may hold."""
        self._at_once = True
        if self._told:
            return
        self._told = True
        with contextlib.suppress(OSError, ValueError):  # a closed stream
            os.write(sys.stderr.fileno(), f"{self._words}\n".encode())


def nothing_to_clean_up() -> None:
    """From now on, while modules are imported, Ctrl-C ends the process at once."""
    _hear(CtrlC(_NOTHING_BEGAN, clean_up=False))


def usual() -> None:
    """From now on, Ctrl-C raises KeyboardInterrupt; the handler of a program around it stays."""
    if isinstance(signal.getsignal(signal.SIGINT), CtrlC):
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def told_as(words: str) -> Iterator[None]:
    """Ctrl-C in the block raises KeyboardInterrupt, which becomes `words` and exit code 130.

    A second one ends the process at once, as one after the block does.
    """
    handler = CtrlC(words, clean_up=True)
    _hear(handler)
    try:
        yield
    except KeyboardInterrupt:
        handler.tell()
        sys.exit(EXIT_INTERRUPTED)


def _hear(handler: CtrlC) -> None:
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as a shell has it in the background
        signal.signal(signal.SIGINT, handler)
