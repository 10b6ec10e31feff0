"""Retries while a server does not answer."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pcsearch.storage.base import StorageError

_log = logging.getLogger(__name__)
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Patience:
    """How long to retry after transient failures.

    Attributes:
        total_seconds: From the first failure of an operation to giving up.
        unmet_seconds: The same for a server that has never answered, as its address may be wrong.
        first_wait_seconds: The first pause; each further one is twice as long.
        longest_wait_seconds: The longest pause.
    """

    total_seconds: float = 300.0
    unmet_seconds: float = 20.0
    first_wait_seconds: float = 0.25
    longest_wait_seconds: float = 5.0


DEFAULT_PATIENCE = Patience()


class PassingError(Exception):
    """A transient failure, with a readable message."""


class Retry:
    """Repeats failing operations as long as patience allows.

    Args:
        server: Name of the server for messages.
        remedy: What the user can do if the server stays unreachable.
    """

    def __init__(self, server: str, remedy: str, patience: Patience) -> None:
        self._server = server
        self._remedy = remedy
        self._patience = patience
        self._met = threading.Event()
        self._away = threading.Event()
        self._until: float | None = None

    def set_deadline(self, seconds: float) -> None:
        """After `seconds`, stop retrying a server that does not answer."""
        self._until = time.monotonic() + seconds  # safe in a signal handler

    def run(self, operation: Callable[[], Answer]) -> Answer:
        """The operation's result.

        Raises:
            StorageError: it raised `PassingError` for as long as patience allows.
        """
        if self._away.is_set() and self._is_late(0.0):
            raise StorageError(f"{self._server} is unreachable. {self._remedy}")
        wait, failing_since = self._patience.first_wait_seconds, None
        while True:
            try:
                result = operation()
            except PassingError as error:
                now = time.monotonic()
                failing_since = now if failing_since is None else failing_since
                self._bear(error, now - failing_since + wait, self._is_late(wait))
            except Exception:
                self._met.set()  # an error is an answer, too
                raise
            else:
                self._answered()
                return result
            time.sleep(wait)
            wait = min(2 * wait, self._patience.longest_wait_seconds)

    def _is_late(self, seconds: float) -> bool:
        """Whether a wait of `seconds` would exceed the deadline."""
        return self._until is not None and time.monotonic() + seconds > self._until

    def _bear(self, error: PassingError, seconds: float, late: bool) -> None:
        """Return if the operation may be retried, `seconds` after it first failed."""
        patience = self._patience
        allowed = patience.total_seconds if self._met.is_set() else patience.unmet_seconds
        if late or seconds > allowed:
            self._away.set()
            tried = "" if late else f" (tried for {_duration(allowed)})"
            raise StorageError(
                f"{self._server} is unreachable: {error}{tried}. {self._remedy}"
            ) from error
        if not self._away.is_set():
            self._away.set()
            _log.warning("%s: %s; retrying for up to %s", self._server, error, _duration(allowed))

    def _answered(self) -> None:
        self._met.set()
        if self._away.is_set():
            self._away.clear()
            _log.warning("%s answers again", self._server)


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} s"
