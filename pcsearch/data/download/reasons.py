"""Why a source of a file failed, in words for people."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit


class SourceError(Exception):
    """One address does not give the file; another one may."""


class DroppedError(Exception):
    """An attempt ended early; the next one may go on from there.

    Attributes:
        wait_seconds: how long the server asks to wait, None where it does not.
    """

    def __init__(self, reason: str, wait_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


def network_reason(error: BaseException, url: str) -> str:
    """The cause of an error of requests or urllib3, without their nesting."""
    from urllib3 import exceptions as u

    host = urlsplit(url).hostname or url
    causes = list(_causes(error))
    words: tuple[tuple[type[BaseException], str], ...] = (
        (u.NameResolutionError, f"the name {host} cannot be resolved (is the network reachable?)"),
        (ConnectionRefusedError, f"{host} refuses the connection"),
        (u.SSLError, f"the certificate or the encryption of {host} is not in order"),
        (u.ConnectTimeoutError, f"{host} does not answer"),
        (u.ReadTimeoutError, f"{host} stopped sending"),
    )
    for kind, reason in words:
        if any(isinstance(cause, kind) for cause in causes):
            return reason
    return f"the connection to {host} broke off"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and all that it wraps."""
    seen: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop(0)
        if not isinstance(one, BaseException) or one in seen:
            continue
        seen.append(one)
        yield one
        waiting += [getattr(one, "reason", None), one.__cause__, one.__context__, *one.args]
