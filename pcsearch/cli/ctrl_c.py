"""Ctrl-C at the command line: handled and reported from the first to the last moment."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType

EXIT_INTERRUPTED = 128 + signal.SIGINT
GO_ON = "interrupted; `pcsearch resume` continues a campaign that has started"
_NOTHING_BEGAN = "interrupted before anything started; the same command starts it again"


class CtrlC:
    """A handler of SIGINT that always says what to do next, and ends with exit code 130.

    Python's own handler may raise anywhere: during an import, or during the message about an
    earlier Ctrl-C.

    Args:
        words: The message.
        clean_up: Whether the first Ctrl-C raises KeyboardInterrupt. Otherwise, and on the second
            one, the process ends at once.
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
        """Write the message once, unbuffered: interrupted code may hold a buffer's lock."""
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
    """From now on, Ctrl-C raises KeyboardInterrupt; a foreign handler stays."""
    if isinstance(signal.getsignal(signal.SIGINT), CtrlC):
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def told_as(words: str) -> Iterator[None]:
    """Ctrl-C in the block raises KeyboardInterrupt, which becomes `words` and exit code 130.

    A second Ctrl-C, or one after the block, ends the process at once.
    """
    handler = CtrlC(words, clean_up=True)
    _hear(handler)
    try:
        yield
    except KeyboardInterrupt:
        handler.tell()
        sys.exit(EXIT_INTERRUPTED)


def _hear(handler: CtrlC) -> None:
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # shells ignore it in background jobs
        signal.signal(signal.SIGINT, handler)
