"""Ctrl-C and ends by a signal: handled and reported from the first to the last moment."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType

EXIT_INTERRUPTED = 128 + signal.SIGINT
BEFORE_START = "before anything started; the same command starts it again"
BEFORE_RESUME = "before the campaign continued; the same command continues it"
AFTER_RESULTS = "after the results above"
_SIGNALS = {128 + number: number.name for number in (signal.SIGTERM, signal.SIGHUP)}


class CtrlC:
    """A handler of SIGINT that always says what to do next, and ends with exit code 130.

    Python's own handler may raise anywhere: during an import, or during the message about an
    earlier Ctrl-C.

    Args:
        words: When it happened, and what to do next; may be set again later.
        clean_up: Whether the first Ctrl-C raises KeyboardInterrupt. Otherwise, and on the second
            one, the process ends at once.
    """

    raises_keyboard_interrupt = True

    def __init__(self, words: str, *, clean_up: bool) -> None:
        self.words = words
        self._at_once = not clean_up
        self._told = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._at_once:
            self.tell()
            os._exit(EXIT_INTERRUPTED)
        self._at_once = True
        raise KeyboardInterrupt

    def tell(self, what: str = "interrupted", error: BaseException | None = None) -> None:
        """Write the message once, unbuffered: interrupted code may hold a buffer's lock.

        If the error ended a campaign, its note has the command that resumes it.
        """
        self._at_once = True
        if self._told:
            return
        self._told = True
        note = note_of(error)
        text = f"{what} {self.words}" if note is None else f"{what}; {note}"
        with contextlib.suppress(OSError, ValueError):  # a closed stream
            os.write(sys.stderr.fileno(), f"{text}\n".encode(errors="replace"))


def note_of(error: BaseException | None) -> str | None:
    """The note of an error, or of one that it replaced; None without one."""
    while error is not None:
        if notes := getattr(error, "__notes__", None):
            return str(notes[0])
        error = error.__context__
    return None


def nothing_to_clean_up() -> None:
    """From now on, while modules are imported, Ctrl-C ends the process at once."""
    _hear(CtrlC(BEFORE_START, clean_up=False))


def usual() -> None:
    """From now on, Ctrl-C raises KeyboardInterrupt; a foreign handler stays."""
    if isinstance(signal.getsignal(signal.SIGINT), CtrlC):
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def told_as(words: str) -> Iterator[CtrlC]:
    """Ctrl-C in the block raises KeyboardInterrupt, which becomes a message and exit code 130.

    An exit by SIGTERM or SIGHUP gets a message, too. Yields the handler; its words may change. A
    second Ctrl-C, or one after the block, ends the process at once.
    """
    handler = CtrlC(words, clean_up=True)
    _hear(handler)
    try:
        yield handler
    except KeyboardInterrupt as error:
        handler.tell(error=error)
        sys.exit(EXIT_INTERRUPTED)
    except SystemExit as end:
        if end.code in _SIGNALS:
            handler.tell(f"ended by {_SIGNALS[end.code]}", end)
        raise


def _hear(handler: CtrlC) -> None:
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # shells ignore it in background jobs
        signal.signal(signal.SIGINT, handler)
