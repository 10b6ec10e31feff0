"""Fetch a file from one address: resume if possible, retry if it may help."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from io import FileIO
from typing import TYPE_CHECKING, Literal, Protocol

from pcsearch.data.dataset import Archive
from pcsearch.data.download.http import (
    Answer,
    DownloadPatience,
    DroppedError,
    Partial,
    SourceError,
    network_reason,
    open_at,
    size_beyond,
    understand,
)
from pcsearch.data.download.paths import check_room
from pcsearch.io import human_bytes, open_to_append

if TYPE_CHECKING:
    from requests import Response, Session


FetchStep = Literal["downloading", "checking", "unpacking"]


class DownloadProgress(Protocol):
    """Receives the progress of each step of each file, and notes."""

    def moved(self, step: FetchStep, file: str, done_bytes: int, total_bytes: int | None) -> None:
        """Called often, from the calling thread.

        The first call of a step gives its start, which is above 0 for a resumed download. A
        download that has to start again falls back to 0.

        Args:
            step: the current step.
            file: the archive.
            done_bytes: bytes done, of the stored archive.
            total_bytes: all bytes, None while unknown.
        """

    def noted(self, line: str) -> None:
        """Show a line: a retry, a mirror, a file that was found."""


_CHUNK_BYTES = 1 << 16
_BEYOND_THE_END = 416


@dataclass
class Fetched:
    """Statistics of a fetch.

    Attributes:
        bytes: bytes that came over the network.
        resumed: whether bytes of more than one answer were joined.
    """

    bytes: int = 0
    resumed: bool = False


def fetch(
    url: str,
    archive: Archive,
    part: Partial,
    progress: DownloadProgress,
    patience: DownloadPatience,
) -> Fetched:
    """Complete a partial file from `url`.

    Its bytes are reused if the server's entity tag or date shows an unchanged file, or if a
    checksum can verify the result.

    Raises:
        SourceError: this address does not provide the file; its bytes so far are kept.
        UserError: there is no room for it.
    """
    import requests

    from pcsearch.version import __version__

    fetched, failures = Fetched(), 0
    with requests.Session() as session:
        session.headers["User-Agent"] = f"pcsearch/{__version__}"
        while True:
            before = part.size_bytes
            try:
                _attempt(session, url, archive, part, progress, patience, fetched)
                return fetched
            except DroppedError as drop:
                gained = part.size_bytes - before
                failures = 1 if gained >= patience.worthwhile_bytes else failures + 1
                if failures >= patience.attempts:
                    raise SourceError(f"{drop}, {failures} times in a row") from drop
                wait = drop.wait_seconds
                seconds = patience.pause_seconds(failures) if wait is None else wait
                at = f" at {human_bytes(part.size_bytes)}" if part.size_bytes else ""
                progress.noted(f"{archive.file}: {drop}{at}; trying again in {seconds:.3g} s")
                time.sleep(seconds)


def _attempt(
    session: Session,
    url: str,
    archive: Archive,
    part: Partial,
    progress: DownloadProgress,
    patience: DownloadPatience,
    fetched: Fetched,
) -> None:
    """One request and its body. Raises the errors of `fetch`, and DroppedError."""
    known = part.origin()
    if known is not None and part.size_bytes and part.size_bytes == known.total_bytes:
        fetched.resumed = True  # killed between its last byte and its check
        return
    offset, validator = _offset(part, url, archive)
    with open_at(session, url, offset, validator, patience) as response:
        if response.status_code == _BEYOND_THE_END and offset:
            if size_beyond(response) == offset:
                fetched.resumed = True
                return
            part.remove()
            raise DroppedError("the server has another version of it")
        answer = understand(response, url, archive.file)
        _agree(answer, archive)
        if answer.start == 0:
            if offset:
                progress.noted(f"{archive.file}: the server sends it from the start")
            part.restart(answer.origin)
        else:
            _join(part, answer, offset)
            fetched.resumed = True
            if not fetched.bytes:
                had = human_bytes(answer.start)
                progress.noted(f"{archive.file}: {had} were downloaded before; resuming")
        total = answer.origin.total_bytes or archive.size_bytes
        if total is not None:
            check_room(part.path.parent, total - answer.start, ())
        _body(response, url, archive, part, answer.start, total, progress, fetched)
    if total is not None and part.size_bytes < total:
        raise DroppedError(f"the server ends it early ({part.size_bytes:,} of {total:,} bytes)")


def _offset(part: Partial, url: str, archive: Archive) -> tuple[int, str]:
    """The offset from which to resume, and the validator of an unchanged file."""
    origin, have = part.origin(), part.size_bytes
    if origin is None or not have:
        return 0, ""
    if origin.url == url and origin.validator:
        return have, origin.validator
    # Another mirror, or a server without versions: only a checksum can verify the joined file.
    return (have, "") if archive.checksum else (0, "")


def _agree(answer: Answer, archive: Archive) -> None:
    """Refuse a wrong size before downloading a gigabyte."""
    total, expected = answer.origin.total_bytes, archive.size_bytes
    if total is not None and expected is not None and total != expected:
        raise SourceError(f"the server's file has {total:,} bytes, the published {expected:,}")


def _join(part: Partial, answer: Answer, offset: int) -> None:
    """Truncate the partial file where the answer begins, if both are of the same version."""
    known = part.origin()
    changed = known is not None and not (
        known.same_version(answer.origin)
        if known.url == answer.origin.url
        else known.total_bytes == answer.origin.total_bytes
    )
    if changed or answer.start > offset:
        part.remove()
        raise DroppedError("the file has changed on the server; fetching it from the start")
    file = open_to_append(part.path)
    try:
        os.ftruncate(file, answer.start)
    finally:
        os.close(file)


def _body(
    response: Response,
    url: str,
    archive: Archive,
    part: Partial,
    start: int,
    total: int | None,
    progress: DownloadProgress,
    fetched: Fetched,
) -> None:
    """Append what arrives, unbuffered: counted bytes must survive the process."""
    from urllib3.exceptions import HTTPError

    done = start
    progress.moved("downloading", archive.file, done, total)
    with os.fdopen(open_to_append(part.path), "ab", buffering=0) as file:
        while True:
            try:
                # Take what has arrived without waiting for more: a reset would lose it.
                chunk = response.raw.read1(_CHUNK_BYTES, decode_content=False)
            except HTTPError as error:
                raise DroppedError(network_reason(error, url)) from error
            if not chunk:
                return
            _write(file, chunk)
            done += len(chunk)
            fetched.bytes += len(chunk)
            if total is not None and done > total:
                raise SourceError(f"the server sends more than the {total:,} bytes expected")
            progress.moved("downloading", archive.file, done, total)


def _write(file: FileIO, chunk: bytes) -> None:
    """Write all of it. A nearly full disk may accept only a part of each write."""
    view = memoryview(chunk)
    while len(view):
        view = view[file.write(view) :]
