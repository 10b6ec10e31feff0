"""One request: open an address at an offset, follow redirections, say what the answer means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from pcsearch.data.download.partial import Origin
from pcsearch.data.download.reasons import DroppedError, SourceError, network_reason

if TYPE_CHECKING:
    from requests import Response, Session

_MOST_REDIRECTIONS = 10
_REDIRECTIONS = (301, 302, 303, 307, 308)
_TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_LONGEST_ASKED_SECONDS = 120.0
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)$")
_BEYOND = re.compile(r"bytes \*/(\d+)$")


@dataclass(frozen=True)
class Patience:
    """How long to go on with a source that does not deliver.

    Attributes:
        attempts: how many in a row may bring less than `worthwhile_bytes`.
        first_wait_seconds: the pause after the first of them; it doubles with each further one.
        longest_wait_seconds: no pause is longer.
        connect_seconds: how long a connection may take.
        read_seconds: how long nothing may arrive.
        worthwhile_bytes: what an attempt must bring to be no failure.
    """

    attempts: int = 6
    first_wait_seconds: float = 1.0
    longest_wait_seconds: float = 30.0
    connect_seconds: float = 15.0
    read_seconds: float = 60.0
    worthwhile_bytes: int = 1 << 20

    def pause_seconds(self, failures: int) -> float:
        """The pause after so many failures in a row, the first one counting 1."""
        return min(self.longest_wait_seconds, self.first_wait_seconds * 2.0 ** max(0, failures - 1))


@dataclass(frozen=True)
class Answer:
    """What a server's answer says of the bytes that follow.

    Attributes:
        start: the offset of its first byte in the whole file.
        origin: the version of the file.
    """

    start: int
    origin: Origin


def open_at(
    session: Session, url: str, offset: int, validator: str, patience: Patience
) -> Response:
    """Ask for a file from `offset` on; `validator` makes a changed file come from its start.

    Raises:
        DroppedError: the network or the server failed in a way that may pass.
        SourceError: it failed for good.
    """
    import requests

    # Bytes as they are stored: a checksum and an offset mean nothing for re-encoded ones.
    headers = {"Accept-Encoding": "identity"}
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
        except ValueError as error:  # requests' errors of addresses are that, too
            raise SourceError("not an address of the web") from error
        except requests.exceptions.RequestException as error:
            raise DroppedError(network_reason(error, url)) from error
        target = response.headers.get("Location")
        if response.status_code not in _REDIRECTIONS or not target:
            return response
        response.close()
        url = _redirected(url, target)
    raise SourceError(f"it redirects more than {_MOST_REDIRECTIONS} times")


def _redirected(url: str, target: str) -> str:
    """The next address; what began encrypted stays so, since md5 sums can be forged."""
    following = urljoin(url, target)
    before, after = urlsplit(url).scheme, urlsplit(following).scheme
    if after != "https" and not (after == "http" and before == "http"):
        raise SourceError(f"it redirects from {before} to {following}, which is not safe")
    return following


def understand(response: Response, url: str, file: str) -> Answer:
    """Which bytes of the file an answer carries.

    Raises:
        DroppedError: none, but it may be asked again.
        SourceError: none, for good.
    """
    status, headers = response.status_code, response.headers
    if status in _TRY_AGAIN:
        raise DroppedError(f"the server answers {_named(response)}", _asked_pause(response))
    if status not in (200, 206):
        raise SourceError(f"the server answers {_named(response)}")
    if headers.get("Content-Type", "").strip().lower().startswith("text/html"):
        raise SourceError("a web page came in place of the file (a login page, or a notice)")
    encoding = headers.get("Content-Encoding", "identity").lower()
    # Some servers call a .tgz "a .tar, encoded by gzip" and send it as it is: that is no harm.
    if encoding != "identity" and not file.endswith(("gz", ".Z", ".bz2", ".xz")):
        raise SourceError(f"the server sends it encoded by {encoding}, which it was asked not to")
    etag, modified = headers.get("ETag", ""), headers.get("Last-Modified", "")
    if status == 200:
        length = headers.get("Content-Length", "")
        total = int(length) if length.isdecimal() else None
        return Answer(0, Origin(url, etag, modified, total))
    found = _RANGE.match(headers.get("Content-Range", "").strip())
    if found is None:
        raise SourceError("the server sends a part of the file without saying which")
    total = None if found[3] == "*" else int(found[3])
    return Answer(int(found[1]), Origin(url, etag, modified, total))


def size_beyond(response: Response) -> int | None:
    """The whole file's size as an answer 416 (beyond the end) states it."""
    found = _BEYOND.match(response.headers.get("Content-Range", "").strip())
    return int(found[1]) if found else None


def _named(response: Response) -> str:
    return f"{response.status_code} {response.reason or ''}".rstrip()


def _asked_pause(response: Response) -> float | None:
    """Seconds of Retry-After; a date there is not worth the parsing."""
    asked = response.headers.get("Retry-After", "")
    return min(float(asked), _LONGEST_ASKED_SECONDS) if asked.isdecimal() else None
