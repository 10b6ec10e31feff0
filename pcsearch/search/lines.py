"""A journal's lines: strict JSON, each sealed over all lines before it.

The seal of a line is its last key: the first 32 hexadecimal digits of SHA-256 over the seal before
it, a line feed and the line without its seal. So a line that was changed, lost, added or moved does
not fit to its neighbours. There is no key: whoever rewrites every later line can seal a journal
anew, and `audit.py` looks at what its lines say.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

from pcsearch.search.events import Event

LINE_BYTES = 8_000_000
"""No event is longer: that of the largest plan is a tenth of it."""

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
        trial: The trial that it is about; None where it is about none.
        what: What does not agree, as the rest of a sentence that begins with the line.
    """

    line: int
    trial: str | None
    what: str

    def __str__(self) -> str:
        about = "" if self.trial is None else f" ({self.trial})"
        return f"line {self.line} of the journal{about}: {self.what}"


class Chain:
    """Follows a journal line by line, and takes note of seals that do not fit.

    Attributes:
        head: What the next line's seal is over.
        lines: How many were followed.
        sealed_from: The number of the first line with a seal; None while there is none.
        mismatches: Lines whose seal does not fit.
    """

    def __init__(self) -> None:
        self.head = ""
        self.lines = 0
        self.sealed_from: int | None = None
        self.mismatches: list[Mismatch] = []

    def take(self, line: bytes) -> Any:
        """What the next line holds, without its seal; see `parse_line`."""
        body, seal = _parts(line)
        content = parse_line(body)
        if seal is None and isinstance(content, dict) and isinstance(content.get(_SEAL), str):
            seal = content.pop(_SEAL)  # another program wrote the line anew
        self._note(body, seal, content)
        return content

    def follow(self, line: bytes) -> None:
        """The same, without a look at what a line in the usual form holds."""
        body, seal = _parts(line)
        if seal is None and _SEAL.encode() in line:
            self.take(line)
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
                content, "its seal does not fit: it was changed, or one before it is gone"
            )
        if seal is not None and self.sealed_from is None:
            self.sealed_from = self.lines
        self.head = expected if seal is None else seal

    def _differs(self, content: object, what: str) -> None:
        trial = trial_of(content) if isinstance(content, dict) else None
        self.mismatches.append(Mismatch(self.lines, trial, what))


def trial_of(event: Event) -> str | None:
    """The trial that an event is about; None where it is about none."""
    spec = event.get("spec")
    trial = spec.get("trial") if isinstance(spec, dict) else event.get("trial")
    return trial if isinstance(trial, str) else None


def sealed(event: Event, head: str) -> tuple[bytes, str]:
    """The line of an event that follows one with the seal `head`, and its own seal."""
    body = _body(event)
    seal = _digest(head, body)
    return body[:-1] + _BEGINS + seal.encode() + _ENDS + b"\n", seal


def _parts(line: bytes) -> tuple[bytes, str | None]:
    """A line without its seal, and that seal, where both are as `sealed` writes them."""
    if not line.endswith(_ENDS) or line[-_LENGTH:].find(_BEGINS) != 0:
        return line, None
    digits = line[-_LENGTH + len(_BEGINS) : -len(_ENDS)]
    return line[:-_LENGTH] + b"}", digits.decode(errors="replace")


def _body(content: object) -> bytes:
    # "?" for what no text holds: half a character from a file name that is not UTF-8
    return encode(content).encode(errors="replace")


def _digest(head: str, body: bytes) -> str:
    return hashlib.sha256(b"%b\n%b" % (head.encode(), body)).hexdigest()[:_DIGITS]


def parse_line(line: bytes) -> object:
    """What a line holds, more strictly than JSON asks for; `check_event` says if it is an event.

    Raises:
        ValueError: it is no such text, is too long, or has a key twice or a number that is none.
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
    """One line of strict JSON: a number that is not finite becomes null."""
    return json.dumps(_finite(event), allow_nan=False, separators=(",", ":"), ensure_ascii=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
