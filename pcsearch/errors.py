"""The errors shown to the user: each message says what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pcsearch.printable import printable_lines


class PcsearchError(Exception):
    """Base of every error this package raises on purpose; its message is safe to print."""

    def __init__(self, message: object = "") -> None:
        super().__init__(printable_lines(str(message)))


class UserError(PcsearchError):
    """The user's mistake (a recipe, a path, an option): shown without a traceback, exit code 2.

    The message says what is wrong, where, and what to do next. Several problems are one a line.
    """


class TrialError(PcsearchError):
    """One training failed for a stated reason (non-finite loss, unreadable image).

    The campaign reports it, counts it and continues.
    """


class DivergedError(TrialError):
    """A training whose loss or outputs are not finite: its learning rate is too high."""


class NodeError(PcsearchError):
    """A node lacks something that every trial needs: the run's folder, the store or the images.

    The trial is restarted on another node. If the fault persists, the next trial would fail too,
    so the campaign ends. It can be resumed once the fault is repaired.
    """


def did_you_mean(word: str, choices: Iterable[str], alike: float = 0.6) -> str:
    """`', did you mean "resnet50"?'` for a near miss, else an empty string.

    Of several near ones, the first that begins with the word is meant, else the nearest. `alike` is
    the least share of common letters, from 0 to 1.
    """
    lowered = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(word.lower(), list(lowered), n=len(lowered) or 1, cutoff=alike)
    near.sort(key=lambda name: not name.startswith(word.lower()))
    return f', did you mean "{lowered[near[0]]}"?' if near else ""
