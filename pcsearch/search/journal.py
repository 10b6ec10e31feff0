"""The campaign's journal: one JSON object a line, appended and fsynced before it takes effect.

The journal is the only record of a campaign. Its writer is the driver alone; readers may look at
any time. A last line torn by a crash is not an event yet and is cut off by the next writer.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from pcsearch.errors import UserError

Event = dict[str, Any]


class Journal(Protocol):
    """Where a campaign writes its events."""

    def append(self, event: Event) -> None: ...


class MemoryJournal:
    """A journal that is not kept, for simulations and tests."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def append(self, event: Event) -> None:
        self.events.append(json.loads(encode(event)))


class FileJournal:
    """An append-only file; `append` returns when the event is on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        whole = _whole_bytes(path) if path.exists() else 0
        self._file = path.open("ab")
        if self._file.tell() != whole:
            self._file.truncate(whole)
            self._file.seek(whole)

    def append(self, event: Event) -> None:
        self._file.write(encode(event).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read_events(path: Path) -> Iterator[Event]:
    """Yield a journal's events; a torn last line is left out.

    Raises:
        UserError: a line in the middle is not a JSON object, so the file is damaged.
    """
    data = path.read_bytes()
    lines = data[: data.rfind(b"\n") + 1].split(b"\n")[:-1]
    for number, line in enumerate(lines, start=1):
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if not isinstance(event, dict) or "event" not in event:
            raise UserError(f"{path}:{number}: this line is not an event; the journal is damaged")
        yield event


def encode(event: Event) -> str:
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


def _whole_bytes(path: Path) -> int:
    data = path.read_bytes()
    return data.rfind(b"\n") + 1
