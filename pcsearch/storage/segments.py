"""The files of a segmented journal: their names, which of them count, what is in them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pcsearch.errors import UserError
from pcsearch.search.events import Event
from pcsearch.search.lines import Chain
from pcsearch.storage.base import Storage

FOLDER = "journal"

_READERS = 16
_NAME = re.compile(rf"{FOLDER}/(?:(compacted)-([0-9]{{8}})-)?([0-9]{{8}})\.jsonl")


@dataclass(frozen=True)
class Segment:
    """A file with the numbers from `first` to `last`."""

    first: int
    last: int
    is_compacted: bool = False

    @property
    def name(self) -> str:
        if self.is_compacted:
            return f"{FOLDER}/compacted-{self.first:08d}-{self.last:08d}.jsonl"
        return f"{FOLDER}/{self.last:08d}.jsonl"


def present(storage: Storage) -> list[Segment]:
    """All segments that are there, those that others replace included."""
    matches = filter(None, map(_NAME.fullmatch, storage.list(FOLDER)))
    segments = [Segment(int(one[2] or one[3]), int(one[3]), one[1] is not None) for one in matches]
    return [one for one in segments if 1 <= one.first <= one.last]


def chain(storage: Storage) -> list[Segment]:
    """The segments that make up the journal, in order: the widest one wherever there are several.

    Raises:
        UserError: one is missing.
    """
    waiting = sorted(present(storage), key=lambda one: (one.first, -one.last))
    used: list[Segment] = []
    after = 1
    for one in waiting:
        if one.first == after:
            used.append(one)
            after = one.last + 1
        elif one.last >= after:
            missing = f"{storage.url}/{Segment(after, after).name}"
            raise UserError(f"{missing} is missing; the journal is damaged")
    return used


def read_all(storage: Storage, segments: Sequence[Segment]) -> dict[Segment, bytes]:
    """The contents, in the order of `segments`.

    Raises:
        FileNotFoundError: one was removed meanwhile.
    """
    names = [segment.name for segment in segments]
    with ThreadPoolExecutor(_READERS) as pool:
        return dict(zip(segments, pool.map(storage.read, names), strict=True))


def parse(
    storage: Storage, segment: Segment, content: bytes, chain: Chain | None = None
) -> list[tuple[str, Event]]:
    """The events of a segment, a line each, with that line's place.

    `chain` follows the lines, see `Chain`; of one segment alone no seal can be judged.

    Raises:
        UserError: it is damaged; the message names the file and the line.
    """
    *lines, rest = content.split(b"\n")
    path = f"{storage.url}/{segment.name}"
    if not lines or rest:
        raise UserError(f"{path}:{len(lines) + 1}: the file is cut short; the journal is damaged")
    places = [f"{path}:{number}" for number in range(1, len(lines) + 1)]
    chain = chain or Chain()
    return [(where, _event(line, where, chain)) for where, line in zip(places, lines, strict=True)]


def _event(line: bytes, where: str, chain: Chain) -> Event:
    try:
        event = chain.take(line)
    except ValueError as error:
        raise UserError(
            f"{where}: this line is not an event: {error}; the journal is damaged"
        ) from None
    if not isinstance(event, dict) or "event" not in event:
        raise UserError(f"{where}: this line is not an event; the journal is damaged")
    return event


def head_of(storage: Storage, segments: Sequence[Segment]) -> str:
    """What the seal of the line after these segments is over; "" after none.

    Raises:
        UserError: one is damaged.
        FileNotFoundError: one was removed meanwhile.
    """
    chain = Chain()
    for one in segments[-1:]:
        parse(storage, one, storage.read(one.name), chain)
    if chain.lines and chain.sealed_from is None:  # then the seal is over all that is there
        chain = Chain()
        for one, content in read_all(storage, segments).items():
            parse(storage, one, content, chain)
    return chain.head
