"""Fetch a file from one address: resume if possible, retry if it may help, check the result."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from pcsearch.errors import UserError
from pcsearch.http import (
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
from pcsearch.io import human_bytes, open_regular, open_to_append

if TYPE_CHECKING:
    from requests import Response, Session


FetchStep = Literal["downloading", "checking", "unpacking"]


class RemoteFile(Protocol):
    """What is known of a file before it is fetched."""

    @property
    def file(self) -> str:
        """Its name, for messages."""

    @property
    def size_bytes(self) -> int | None:
        """Its size, None if it is not published."""

    @property
    def checksum(self) -> str | None:
        """`md5:HEX` or `sha256:HEX`, or the first digits of it; None if none is published."""


class DownloadProgress(Protocol):
    """Receives the progress of each step of each file, and notes."""

    def moved(self, step: FetchStep, file: str, done_bytes: int, total_bytes: int | None) -> None:
        """Called often, from the calling thread.

        The first call of a step gives its start, which is above 0 for a resumed download. A
        download that has to start again falls back to 0.

        Args:
            step: the current step.
            file: the file.
            done_bytes: bytes done, of the stored file.
            total_bytes: all bytes, None while unknown.
        """

    def noted(self, line: str) -> None:
        """Show a line: a retry, a mirror, a file that was found."""


_CHUNK_BYTES = 1 << 16
_DIGEST_CHUNK_BYTES = 1 << 20
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
    wanted: RemoteFile,
    part: Partial,
    progress: DownloadProgress,
    patience: DownloadPatience,
    token: str = "",
) -> Fetched:
    """Complete a partial file from `url`, where `token` is a bearer token of its host.

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
                _attempt(session, url, wanted, part, progress, patience, fetched, token)
                return fetched
            except DroppedError as drop:
                gained = part.size_bytes - before
                failures = 1 if gained >= patience.worthwhile_bytes else failures + 1
                if failures >= patience.attempts:
                    raise SourceError(f"{drop}, {failures} times in a row") from drop
                wait = drop.wait_seconds
                seconds = patience.pause_seconds(failures) if wait is None else wait
                at = f" at {human_bytes(part.size_bytes)}" if part.size_bytes else ""
                progress.noted(f"{wanted.file}: {drop}{at}; trying again in {seconds:.3g} s")
                time.sleep(seconds)


def _attempt(
    session: Session,
    url: str,
    wanted: RemoteFile,
    part: Partial,
    progress: DownloadProgress,
    patience: DownloadPatience,
    fetched: Fetched,
    token: str,
) -> None:
    """One request and its body. Raises the errors of `fetch`, and DroppedError."""
    known = part.origin()
    if known is not None and part.size_bytes and part.size_bytes == known.total_bytes:
        fetched.resumed = True  # killed between its last byte and its check
        return
    offset, validator = _offset(part, url, wanted)
    with open_at(session, url, offset, validator, patience, token) as response:
        if response.status_code == _BEYOND_THE_END and offset:
            if size_beyond(response) == offset:
                fetched.resumed = True
                return
            part.remove()
            raise DroppedError("the server has another version of it")
        answer = understand(response, url, wanted.file)
        _agree(answer, wanted)
        if answer.start == 0:
            if offset:
                progress.noted(f"{wanted.file}: the server sends it from the start")
            part.restart(answer.origin)
        else:
            _join(part, answer, offset)
            fetched.resumed = True
            if not fetched.bytes:
                had = human_bytes(answer.start)
                progress.noted(f"{wanted.file}: {had} were downloaded before; resuming")
        total = answer.origin.total_bytes or wanted.size_bytes
        if total is not None:
            _check_room(part.path.parent, total - answer.start)
        _body(response, url, wanted, part, answer.start, total, progress, fetched)
    if total is not None and part.size_bytes < total:
        raise DroppedError(f"the server ends it early ({part.size_bytes:,} of {total:,} bytes)")


def _check_room(folder: Path, needed_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise UserError(
            f"not enough room in {folder}: about {human_bytes(needed_bytes)} to download, "
            f"{human_bytes(free)} free. Free space, or choose a folder on another disk."
        )


def _offset(part: Partial, url: str, wanted: RemoteFile) -> tuple[int, str]:
    """The offset from which to resume, and the validator of an unchanged file."""
    origin, have = part.origin(), part.size_bytes
    if origin is None or not have:
        return 0, ""
    if origin.url == url and origin.validator:
        return have, origin.validator
    # Another mirror, or a server without versions: only a checksum can verify the joined file.
    return (have, "") if wanted.checksum else (0, "")


def _agree(answer: Answer, wanted: RemoteFile) -> None:
    """Refuse a wrong size before downloading a gigabyte."""
    total, expected = answer.origin.total_bytes, wanted.size_bytes
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
    wanted: RemoteFile,
    part: Partial,
    start: int,
    total: int | None,
    progress: DownloadProgress,
    fetched: Fetched,
) -> None:
    """Append what arrives, unbuffered: counted bytes must survive the process."""
    from urllib3.exceptions import HTTPError

    done = start
    progress.moved("downloading", wanted.file, done, total)
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
            progress.moved("downloading", wanted.file, done, total)


def _write(file: FileIO, chunk: bytes) -> None:
    """Write all of it. A nearly full disk may accept only a part of each write."""
    view = memoryview(chunk)
    while len(view):
        view = view[file.write(view) :]


@dataclass(frozen=True)
class ChecksumResult:
    """The result of a check.

    Attributes:
        problem: the expected and the found value; empty if they agree.
        note: what was checked.
    """

    problem: str
    note: str


def check_file(path: Path, wanted: RemoteFile, progress: DownloadProgress) -> ChecksumResult:
    """Compare size and checksum with the published ones."""
    size = path.stat().st_size
    if wanted.size_bytes is not None and size != wanted.size_bytes:
        return ChecksumResult(f"{wanted.size_bytes:,} bytes are expected, it has {size:,}", "")
    if wanted.checksum is None:
        checked = "its size" if wanted.size_bytes is not None else "nothing"
        return ChecksumResult("", f"no checksum is published for it; {checked} could be checked")
    kind, _, expected = wanted.checksum.partition(":")
    found = file_digest(
        path, kind, lambda done, total: progress.moved("checking", wanted.file, done, total)
    )
    if not found.startswith(expected.lower()):
        return ChecksumResult(f"{kind} {expected} is expected, it has {found}", "")
    return ChecksumResult("", f"its {kind} is the published one")


def file_digest(path: Path, kind: str, progress: Callable[[int, int], None]) -> str:
    """The digest of a file as hexadecimal digits, read in chunks."""
    digest = hashlib.new(kind, usedforsecurity=False)
    total, done = path.stat().st_size, 0
    with open_regular(path) as file:
        while chunk := file.read(_DIGEST_CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            progress(done, total)
    return digest.hexdigest()


@dataclass(frozen=True)
class Checked:
    """A file that was fetched and checked.

    Attributes:
        bytes: bytes that came over the network.
        checked: what was compared with the published values.
    """

    bytes: int
    checked: str


def fetch_checked(
    url: str,
    wanted: RemoteFile,
    part: Partial,
    progress: DownloadProgress,
    patience: DownloadPatience,
    token: str = "",
) -> Checked:
    """Complete a partial file as `fetch` does, and compare it with the published values.

    A wrong file is removed. If it was joined from several answers, it is fetched once more.

    Raises:
        SourceError: as `fetch`, or the content is wrong.
        UserError: there is no room for it.
    """
    fetched_bytes, again = 0, False
    while True:
        fetched = fetch(url, wanted, part, progress, patience, token)
        fetched_bytes += fetched.bytes
        verdict = check_file(part.path, wanted, progress)
        if not verdict.problem:
            return Checked(fetched_bytes, verdict.note)
        part.remove()
        problem = f"wrong content, removed: {verdict.problem}"
        if again or not fetched.resumed:
            raise SourceError(problem)
        again = True
        progress.noted(f"{wanted.file}: {problem}; fetching it again from the start")
