"""One HTTP request: open it at an offset, follow redirections, interpret answers and failures."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from pcsearch.io import create_anew, read_regular

if TYPE_CHECKING:
    from requests import Response, Session


class SourceError(Exception):
    """This address does not provide the file; another one may."""


class DroppedError(Exception):
    """An attempt ended early; the next one may resume it.

    Attributes:
        wait_seconds: the pause that the server asks for, None if it asks for none.
    """

    def __init__(self, reason: str, wait_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


def network_reason(error: BaseException, url: str) -> str:
    """The cause of an error of requests or urllib3, without the nested exceptions."""
    from urllib3 import exceptions as u

    host = urlsplit(url).hostname or url
    causes = list(_causes(error))
    words: tuple[tuple[type[BaseException], str], ...] = (
        (u.NameResolutionError, f"the name {host} cannot be resolved (is the network reachable?)"),
        (ConnectionRefusedError, f"{host} refuses the connection"),
        (u.SSLError, f"the certificate or the encryption of {host} is not valid"),
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


_ORIGIN_BYTES = 10**5


@dataclass(frozen=True)
class RemoteOrigin:
    """The origin of a partial file: its address and the version of the whole file.

    Attributes:
        url: its address, before redirections.
        etag: the server's entity tag, empty if it sent none.
        last_modified: the server's date of change, empty if it sent none.
        total_bytes: the size of the whole file, None if the server sent none.
    """

    url: str
    etag: str = ""
    last_modified: str = ""
    total_bytes: int | None = None

    @property
    def validator(self) -> str:
        """The value for If-Range: a strong entity tag, else the date, else nothing."""
        if self.etag and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified

    def same_version(self, other: RemoteOrigin) -> bool:
        """Whether all values that both origins have are equal."""
        stated = (
            (self.etag, other.etag),
            (self.last_modified, other.last_modified),
            (self.total_bytes, other.total_bytes),
        )
        return all(not mine or not theirs or mine == theirs for mine, theirs in stated)


@dataclass(frozen=True)
class Partial:
    """`FILE.part`, and `FILE.part.json` with its origin."""

    path: Path

    @property
    def size_bytes(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def _origin_file(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def origin(self) -> RemoteOrigin | None:
        """The origin of its bytes; None if it is missing or unreadable."""
        try:
            return RemoteOrigin(**json.loads(read_regular(self._origin_file, _ORIGIN_BYTES)))
        except (OSError, ValueError, TypeError):
            return None

    def restart(self, origin: RemoteOrigin) -> None:
        """Start again. Remove the old bytes first: a new origin must never describe old bytes."""
        self.path.unlink(missing_ok=True)
        with create_anew(self._origin_file) as file:
            file.write(json.dumps(asdict(origin)).encode())

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self._origin_file.unlink(missing_ok=True)

    def become(self, target: Path) -> None:
        """Put the whole file in place."""
        self.path.replace(target)
        self._origin_file.unlink(missing_ok=True)


_MOST_REDIRECTIONS = 10
_REDIRECTIONS = (301, 302, 303, 307, 308)
_TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_LONGEST_ASKED_SECONDS = 120.0
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)$")
_BEYOND = re.compile(r"bytes \*/(\d+)$")


@dataclass(frozen=True)
class DownloadPatience:
    """When to give up a source that does not deliver.

    Attributes:
        attempts: number of failures in a row after which to give up.
        first_wait_seconds: the pause after the first failure; it doubles with each further one.
        longest_wait_seconds: the longest pause.
        connect_seconds: timeout of a connection.
        read_seconds: timeout without any new bytes.
        worthwhile_bytes: an attempt that brings fewer bytes is a failure.
    """

    attempts: int = 6
    first_wait_seconds: float = 1.0
    longest_wait_seconds: float = 30.0
    connect_seconds: float = 15.0
    read_seconds: float = 60.0
    worthwhile_bytes: int = 1 << 20

    def pause_seconds(self, failures: int) -> float:
        """The pause after this number of failures in a row, from 1."""
        return min(self.longest_wait_seconds, self.first_wait_seconds * 2.0 ** max(0, failures - 1))


@dataclass(frozen=True)
class Answer:
    """A server's description of the bytes that follow.

    Attributes:
        start: the offset of its first byte in the whole file.
        origin: the version of the file.
    """

    start: int
    origin: RemoteOrigin


def open_at(
    session: Session,
    url: str,
    offset: int,
    validator: str,
    patience: DownloadPatience,
    token: str = "",
) -> Response:
    """Request a file from `offset`. With `validator`, a changed file is sent from its start.

    `token` is sent to the host of `url` alone, not to hosts to which it redirects.

    Raises:
        DroppedError: a temporary failure of the network or the server.
        SourceError: a permanent failure.
    """
    import requests

    # The stored bytes: checksums and offsets are invalid for re-encoded ones.
    headers = {"Accept-Encoding": "identity"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if validator:
            headers["If-Range"] = validator
    timeout = (patience.connect_seconds, patience.read_seconds)
    for _ in range(_MOST_REDIRECTIONS + 1):
        try:
            response = session.get(
                url, headers=headers, stream=True, allow_redirects=False, timeout=timeout
            )
        except requests.exceptions.SSLError as error:
            raise SourceError(network_reason(error, url)) from error
        except ValueError as error:  # also requests' errors about addresses
            raise SourceError("not a valid web address") from error
        except requests.exceptions.RequestException as error:
            raise DroppedError(network_reason(error, url)) from error
        target = response.headers.get("Location")
        if response.status_code not in _REDIRECTIONS or not target:
            return response
        response.close()
        before, url = url, _redirected(url, target)
        if urlsplit(before).netloc != urlsplit(url).netloc:
            headers.pop("Authorization", None)
    raise SourceError(f"it redirects more than {_MOST_REDIRECTIONS} times")


def _redirected(url: str, target: str) -> str:
    """The next address. An encrypted transfer must stay encrypted, since md5 can be forged."""
    following = urljoin(url, target)
    before, after = urlsplit(url).scheme, urlsplit(following).scheme
    if after != "https" and not (after == "http" and before == "http"):
        raise SourceError(f"it redirects from {before} to {following}, which is not safe")
    return following


def understand(response: Response, url: str, file: str) -> Answer:
    """The bytes of the file that an answer carries.

    Raises:
        DroppedError: a temporary failure; the request may be repeated.
        SourceError: a permanent failure.
    """
    status, headers = response.status_code, response.headers
    if status in _TRY_AGAIN:
        raise DroppedError(f"the server answers {_named(response)}", _asked_pause(response))
    if status not in (200, 206):
        raise SourceError(f"the server answers {_named(response)}")
    if headers.get("Content-Type", "").strip().lower().startswith("text/html"):
        raise SourceError("the server sent a web page instead of the file (a login page, a notice)")
    encoding = headers.get("Content-Encoding", "identity").lower()
    # Some servers declare a .tgz as a .tar encoded by gzip and send it unchanged: that is harmless.
    if encoding != "identity" and not file.endswith(("gz", ".Z", ".bz2", ".xz")):
        raise SourceError(f"the server sends it encoded by {encoding}, although asked not to")
    etag, modified = headers.get("ETag", ""), headers.get("Last-Modified", "")
    if status == 200:
        length = headers.get("Content-Length", "")
        total = int(length) if length.isdecimal() else None
        return Answer(0, RemoteOrigin(url, etag, modified, total))
    found = _RANGE.match(headers.get("Content-Range", "").strip())
    if found is None:
        raise SourceError("the server sends a part of the file without saying which")
    total = None if found[3] == "*" else int(found[3])
    return Answer(int(found[1]), RemoteOrigin(url, etag, modified, total))


def size_beyond(response: Response) -> int | None:
    """The whole file's size, from an answer 416 (beyond the end)."""
    found = _BEYOND.match(response.headers.get("Content-Range", "").strip())
    return int(found[1]) if found else None


def _named(response: Response) -> str:
    return f"{response.status_code} {response.reason or ''}".rstrip()


def _asked_pause(response: Response) -> float | None:
    """Seconds in Retry-After; dates in it are ignored."""
    asked = response.headers.get("Retry-After", "")
    return min(float(asked), _LONGEST_ASKED_SECONDS) if asked.isdecimal() else None
