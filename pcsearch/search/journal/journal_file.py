"""The campaign's journal: one JSON object per line, sealed, and fsynced before it takes effect.

The last key of a line is its seal: the first 32 hexadecimal digits of SHA-256 over the previous
seal, a line feed, and the line without its seal. So a line that was changed, lost, added or moved
does not fit its neighbours. There is no secret: anyone can rewrite all later lines with new seals.
Therefore `audit.py` also checks what the lines say.

The journal is the only record of a campaign. Only the driver writes it; anyone may read it at any
time. A last line torn by a crash is not an event yet, and the next writer cuts it off.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from pcsearch.errors import UserError
from pcsearch.io import open_regular, open_to_append
from pcsearch.search.journal.events import Event, NewerError, check_event
from pcsearch.search.journal.validate import History

LINE_BYTES = 8_000_000
"""The longest line that is read. The largest plan's event is a tenth as long."""

_LONGEST_INTEGER = 30
_SEAL = "seal"
_BEGINS = b',"seal":"'
_ENDS = b'"}'
_DIGITS = 32
_LENGTH = len(_BEGINS) + _DIGITS + len(_ENDS)


@dataclass(frozen=True)
class Mismatch:
    """A line that does not agree with the rest of its journal.

    Attributes:
        line: Its number, from 1.
        trial: The trial that it is about, if any.
        what: What does not agree. It completes a sentence that begins with the line.
    """

    line: int
    trial: str | None
    what: str

    def __str__(self) -> str:
        about = "" if self.trial is None else f" ({self.trial})"
        return f"line {self.line} of the journal{about}: {self.what}"


class Chain:
    """Follows a journal line by line, and records seals that do not fit.

    Attributes:
        head: The previous seal, which the next line's seal covers.
        lines: How many lines were followed.
        sealed_from: The number of the first line with a seal; None while there is none.
        mismatches: Lines whose seal does not fit.
    """

    def __init__(self) -> None:
        self.head = ""
        self.lines = 0
        self.sealed_from: int | None = None
        self.mismatches: list[Mismatch] = []

    def check(self, line: bytes) -> Any:
        """The content of the next line without its seal; see `parse_line`."""
        body, seal = _parts(line)
        content = parse_line(body)
        if seal is None and isinstance(content, dict) and isinstance(content.get(_SEAL), str):
            seal = content.pop(_SEAL)  # another program reformatted the line
        self._note(body, seal, content)
        return content

    def follow(self, line: bytes) -> None:
        """The same, without parsing a line in the usual form."""
        body, seal = _parts(line)
        if seal is None and _SEAL.encode() in line:
            self.check(line)
        else:
            self.head = _digest(self.head, body) if seal is None else seal

    def _note(self, body: bytes, seal: str | None, content: object) -> None:
        self.lines += 1
        expected = _digest(self.head, body)
        if seal is None:
            if self.sealed_from is not None:
                self._differs(content, "it has no seal, unlike lines before it")
        elif seal != expected and seal != _digest(self.head, _body(content)):
            self._differs(
                content, "its seal does not fit: it was changed, or a line before it is gone"
            )
        if seal is not None and self.sealed_from is None:
            self.sealed_from = self.lines
        self.head = expected if seal is None else seal

    def _differs(self, content: object, what: str) -> None:
        trial = trial_of(content) if isinstance(content, dict) else None
        self.mismatches.append(Mismatch(self.lines, trial, what))


def trial_of(event: Event) -> str | None:
    """The trial that an event is about, if any."""
    spec = event.get("spec")
    trial = spec.get("trial") if isinstance(spec, dict) else event.get("trial")
    return trial if isinstance(trial, str) else None


def sealed(event: Event, head: str) -> tuple[bytes, str]:
    """The line of an event after the seal `head`, and the line's own seal."""
    body = _body(event)
    seal = _digest(head, body)
    return body[:-1] + _BEGINS + seal.encode() + _ENDS + b"\n", seal


def _parts(line: bytes) -> tuple[bytes, str | None]:
    """A line without its seal, and the seal; None if `sealed` did not write the line."""
    if not line.endswith(_ENDS) or line[-_LENGTH:].find(_BEGINS) != 0:
        return line, None
    digits = line[-_LENGTH + len(_BEGINS) : -len(_ENDS)]
    return line[:-_LENGTH] + b"}", digits.decode(errors="replace")


def _body(content: object) -> bytes:
    # "?" replaces half a character, as from a file name that is not UTF-8
    return encode(content).encode(errors="replace")


def _digest(head: str, body: bytes) -> str:
    return hashlib.sha256(b"%b\n%b" % (head.encode(), body)).hexdigest()[:_DIGITS]


def parse_line(line: bytes) -> object:
    """The content of a line, parsed more strictly than JSON asks; `check_event` checks the event.

    Raises:
        ValueError: the line is not JSON in UTF-8, is too long or nested too deep, has a key twice,
            or holds NaN, infinity or a huge number.
    """
    if len(line) > LINE_BYTES:
        raise ValueError(f"it is longer than {LINE_BYTES / 1e6:g} MB")
    try:
        parsed = json.loads(
            line.decode(),
            object_pairs_hook=_unique,
            parse_int=_integer,
            parse_constant=_refuse_constant,
        )
        if b"\\u" in line:
            json.dumps(parsed, ensure_ascii=False).encode()
        return parsed
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    except UnicodeEncodeError:
        raise ValueError("it holds half a character, which is no text") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON ({error.msg} at character {error.pos + 1})") from None
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("it has a key twice")
    return found


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_INTEGER:
        raise ValueError(f"it holds a number of {len(digits)} digits")
    return int(digits)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it holds {name}, which is no number")


def encode(event: object) -> str:
    """One line of strict JSON; a number that is not finite becomes null."""
    return json.dumps(_finite(event), allow_nan=False, separators=(",", ":"), ensure_ascii=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


__all__ = [
    "LINE_BYTES",
    "Chain",
    "Event",
    "FileJournal",
    "Journal",
    "MemoryJournal",
    "encode",
    "parse_line",
    "read_events",
]

_TAIL_BYTES = 2**16


class Journal(Protocol):
    """Where a campaign writes its events."""

    def append(self, event: Event) -> None: ...


class MemoryJournal:
    """A journal in memory, for simulations and tests."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def append(self, event: Event) -> None:
        self.events.append(json.loads(encode(event)))


class FileJournal:
    """An append-only file; `append` returns when the event is on disk.

    Raises:
        OSError: the file cannot be written, is a link, or is not a regular file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = open_to_append(path)
        self._torn = False
        try:
            self._end = _whole_bytes(self._descriptor)
            self._cut()
            self._head = _head_of(path)
            _sync_folder(path.parent)
        except BaseException:
            self.close()
            raise

    def append(self, event: Event) -> None:
        """Write an event. It is on disk when this returns, and not in the file when this raises.

        Raises:
            OSError: it cannot be written. A later event may succeed, once there is room again. If
                half a line could not be removed, every later call raises.
        """
        if self._torn:
            raise OSError(errno.EIO, "ends in half an event, so no more is written", str(self.path))
        line, head = sealed(event, self._head)
        try:
            self._write(line)
        except BaseException:  # a signal may come between two parts of a line, too
            self._torn = True
            with contextlib.suppress(OSError):
                self._cut()
                self._torn = False
            raise
        self._end += len(line)
        self._head = head

    def _write(self, line: bytes) -> None:
        try:
            written = 0
            while written < len(line):
                written += os.write(self._descriptor, line[written:])
            os.fsync(self._descriptor)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    def _cut(self) -> None:
        """Cut off everything after the last whole event."""
        if os.fstat(self._descriptor).st_size > self._end:
            os.ftruncate(self._descriptor, self._end)
            os.fsync(self._descriptor)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read_events(path: Path, chain: Chain | None = None) -> Iterator[Event]:
    """Yield a journal's events, each checked by itself and against those before it.

    A torn last line is left out. `chain` records lines whose seal does not fit. They are yielded
    nevertheless, so that a changed journal can be read.

    Raises:
        UserError: the file cannot be read, or a line is not an event that could be there. The
            message has the line's number.
    """
    history, chain = History(), chain or Chain()
    for number, line in enumerate(_whole_lines(path), start=1):
        try:
            event = check_event(chain.check(line))
            history.check(event)
        except NewerError as error:
            raise UserError(f"{path}:{number}: this line cannot be read: {error}") from None
        except ValueError as error:
            keep = f", or keep its first {number - 1} lines and resume from there"
            raise UserError(
                f"{path}:{number}: this line does not belong here: {error}; the journal is "
                f"damaged: restore it from a copy{keep if number > 1 else ''}"
            ) from None
        yield event


def _head_of(path: Path) -> str:
    """What the next line's seal covers: the last seal, or a digest of lines without seals."""
    chain = Chain()
    for line in _whole_lines(path):
        with contextlib.suppress(ValueError):  # readers report what is wrong with it
            chain.follow(line)
    return chain.head


def _whole_lines(path: Path) -> Iterator[bytes]:
    """Whole lines without their line feeds. Reads at most `LINE_BYTES` + 1 bytes of each."""
    try:
        with open_regular(path) as file:
            while (line := file.readline(LINE_BYTES + 1)).endswith(b"\n"):
                yield line[:-1]
            if len(line) > LINE_BYTES:
                yield line
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def _whole_bytes(descriptor: int) -> int:
    """The end of the last whole line. OSError if more than a torn line follows it."""
    size = end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - _TAIL_BYTES)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
        if size - end > LINE_BYTES:
            raise OSError(errno.EINVAL, "its end is neither an event nor a part of one")
    return 0


def _sync_folder(folder: Path) -> None:
    """Make a new file's name durable; some file systems cannot sync a folder."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
