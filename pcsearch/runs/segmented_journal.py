"""The campaign's journal in a store without append: numbered files that never change.

    journal/00000001.jsonl, journal/00000002.jsonl, ...      one event each
    journal/compacted-00000001-00001000.jsonl                the same events in one file

Exclusive creation takes a number, so only one of two drivers continues. The first file of each
later driver survives compaction, so that a driver that wakes up late collides with it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from pcsearch.errors import PcsearchError, UserError
from pcsearch.search.journal.events import Event, NewerError, check_event
from pcsearch.search.journal.journal_file import Chain, sealed
from pcsearch.search.journal.validate import History
from pcsearch.storage.base import LeaseLostError, Storage

JOURNAL_FOLDER = "journal"

_READERS = 16
_REMEDY = "restore it from a copy, or start a new run"
_NAME = re.compile(rf"{JOURNAL_FOLDER}/(?:(compacted)-([0-9]{{8}})-)?([0-9]{{8}})\.jsonl")


@dataclass(frozen=True)
class Segment:
    """A file with the events from `first` to `last`."""

    first: int
    last: int
    is_compacted: bool = False

    @property
    def name(self) -> str:
        if self.is_compacted:
            return f"{JOURNAL_FOLDER}/compacted-{self.first:08d}-{self.last:08d}.jsonl"
        return f"{JOURNAL_FOLDER}/{self.last:08d}.jsonl"


def present(storage: Storage) -> list[Segment]:
    """All segments, including those that others replace."""
    matches = filter(None, map(_NAME.fullmatch, storage.list(JOURNAL_FOLDER)))
    segments = [Segment(int(one[2] or one[3]), int(one[3]), one[1] is not None) for one in matches]
    return [one for one in segments if 1 <= one.first <= one.last]


def chain(storage: Storage) -> list[Segment]:
    """The segments that make up the journal, in order; where several overlap, the widest.

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
            raise UserError(f"{missing} is missing; the journal is damaged: {_REMEDY}")
    return used


def _read_all(storage: Storage, segments: Sequence[Segment]) -> dict[Segment, bytes]:
    """The contents, in the order of `segments`.

    Raises:
        FileNotFoundError: another process removed one meanwhile.
    """
    names = [segment.name for segment in segments]
    with ThreadPoolExecutor(_READERS) as pool:
        return dict(zip(segments, pool.map(storage.read, names), strict=True))


def parse(
    storage: Storage, segment: Segment, content: bytes, chain: Chain | None = None
) -> list[tuple[str, Event]]:
    """The events of a segment, one a line, each with its place (file and line).

    `chain` follows the lines, see `Chain`. One segment alone cannot verify a seal.

    Raises:
        UserError: it is damaged; the message names the file and the line.
    """
    *lines, rest = content.split(b"\n")
    path = f"{storage.url}/{segment.name}"
    if not lines or rest:
        raise UserError(
            f"{path}:{len(lines) + 1}: the file is truncated; the journal is damaged: {_REMEDY}"
        )
    places = [f"{path}:{number}" for number in range(1, len(lines) + 1)]
    chain = chain or Chain()
    return [(where, _event(line, where, chain)) for where, line in zip(places, lines, strict=True)]


def _event(line: bytes, where: str, chain: Chain) -> Event:
    try:
        event = chain.check(line)
    except ValueError as error:
        raise UserError(
            f"{where}: this line is not an event: {error}; the journal is damaged: {_REMEDY}"
        ) from None
    if not isinstance(event, dict) or "event" not in event:
        raise UserError(f"{where}: this line is not an event; the journal is damaged: {_REMEDY}")
    return event


def _head_of(storage: Storage, segments: Sequence[Segment]) -> str:
    """The chain's head after these segments, which the next line's seal covers; "" after none.

    Raises:
        UserError: one is damaged.
        FileNotFoundError: another process removed one meanwhile.
    """
    chain = Chain()
    for one in segments[-1:]:
        parse(storage, one, storage.read(one.name), chain)
    if chain.lines and chain.sealed_from is None:  # then the seal covers all segments
        chain = Chain()
        for one, content in _read_all(storage, segments).items():
            parse(storage, one, content, chain)
    return chain.head


_COMPACT_ABOVE = 1000
"""With more files of one event than this, opening a journal compacts them first."""

_log = logging.getLogger(__name__)


def read_segments(storage: Storage, seals: Chain | None = None) -> list[Event]:
    """A journal's events in order, also while it is written; empty without a journal.

    `seals` records lines whose seal does not fit, see `read_events`.

    Raises:
        UserError: a segment is missing or damaged, or holds an event that no campaign writes at
            that place; names file and line.
    """
    history, events = History(), []
    for where, event in stored_events(storage, seals):
        try:
            history.check(check_event(event))
        except NewerError as error:
            raise UserError(f"{where}: this line cannot be read: {error}") from None
        except ValueError as error:
            raise UserError(
                f"{where}: this line does not belong here: {error}; the journal is damaged: "
                f"{_REMEDY}"
            ) from None
        events.append(event)
    return events


def events_after(storage: Storage, number: int) -> list[Event]:
    """The journal's events after the first `number`; reads only the segments that hold them.

    Raises:
        UserError: a segment is missing or damaged.
    """
    return [event for _, event in stored_events(storage, after=number)]


def stored_events(
    storage: Storage, seals: Chain | None = None, after: int = 0
) -> list[tuple[str, Event]]:
    """The events of the segments in order, each with its file and line; not validated.

    `after` leaves out that many events, and the segments that hold no other ones.

    Raises:
        UserError: a segment is missing or damaged.
    """
    for _ in range(3):
        segments = [one for one in chain(storage) if one.last > after]
        try:
            contents = _read_all(storage, segments)
        except FileNotFoundError:  # compacted between listing and reading
            continue
        seals = seals or Chain()
        lines = [line for one in contents for line in parse(storage, one, contents[one], seals)]
        return lines[after - segments[0].first + 1 :] if after and segments else lines
    raise UserError(
        f"{storage.url}/{JOURNAL_FOLDER}: its files disappear while they are read, perhaps because "
        "another process joins them; repeat this command"
    )


class SegmentJournal:
    """A `Journal` in a storage; `append` returns when the event is durable.

    Args:
        after: Number of events that the caller has read; None accepts any number. It reveals events
            that a cut-off earlier driver wrote at the last moment.
        compact_above: Most files of one event that are not compacted.

    Raises:
        UserError: the existing journal lacks a segment.
        LeaseLostError: it does not hold `after` events.
    """

    def __init__(
        self, storage: Storage, after: int | None = None, *, compact_above: int = _COMPACT_ABOVE
    ) -> None:
        self._storage = storage
        segments = chain(storage)
        there = segments[-1].last if segments else 0
        if after not in (None, there):
            raise LeaseLostError(
                f"another process has written to {storage.url}/{JOURNAL_FOLDER} meanwhile "
                f"({there} events instead of {after}); if that process has ended, repeat this "
                "command"
            )
        if sum(not segment.is_compacted for segment in segments) > compact_above:
            compact(storage)
            segments = chain(storage)
        try:
            self._head = _head_of(storage, segments)
        except FileNotFoundError as error:
            raise PcsearchError(
                f"another process is compacting {storage.url}/{JOURNAL_FOLDER}"
            ) from error
        self._next = there + 1
        self._begun = (0, b"", "")  # the last write, perhaps cut off: number, content, seal
        self._failed: PcsearchError | None = None
        self._ended = False

    def append(self, event: Event) -> None:
        """Write one event.

        Raises:
            LeaseLostError: another driver has written in between; this one must stop.
            PcsearchError: the storage failed, so the event may or may not be written. Every
                further call raises the same error.
        """
        if self._failed is not None:
            raise self._failed
        try:
            if self._begun[0] == self._next:  # the last call was cut off, perhaps by Ctrl-C
                self._write(*self._begun[1:])
            self._write(*sealed(event, self._head))
        except PcsearchError as error:
            self._failed = error
            raise
        self._ended = event.get("event") == "ended"

    def close(self) -> None:
        """Compact the journal of a campaign that has ended; readers do not need this."""
        if self._ended and self._failed is None:
            try:
                compact(self._storage)
            except PcsearchError as error:
                _log.warning("the journal stays in many files: %s", error)
            self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _write(self, data: bytes, head: str) -> None:
        number = self._next
        name = Segment(number, number).name
        again = self._begun == (number, data, head)
        self._begun = (number, data, head)
        # Another driver begins with an event that names it, so equal content is our own.
        if not self._storage.create(name, data) and not (
            again and self._storage.read(name) == data
        ):
            raise LeaseLostError(
                f"another process continues this campaign: it has written {self._storage.url}/"
                f"{name}; this one stops"
            )
        self._next, self._head = number + 1, head


def compact(storage: Storage) -> None:
    """Write all events to one file, then remove the files that it replaces.

    After a crash in between, readers ignore the remaining files, and the next compaction removes
    them.

    Raises:
        UserError: a segment is missing or damaged.
        PcsearchError: another process compacts the journal at the same time.
    """
    segments = chain(storage)
    if not segments:
        return
    whole = Segment(1, segments[-1].last, is_compacted=True)
    there = [one for one in present(storage) if one.last <= whole.last]
    try:
        contents = _read_all(storage, there)
    except FileNotFoundError as error:
        raise PcsearchError(
            f"another process is compacting {storage.url}/{JOURNAL_FOLDER}"
        ) from error
    if whole not in segments:
        for segment in segments:
            parse(storage, segment, contents[segment])
        together = b"".join(contents[segment] for segment in segments)
        if not storage.create(whole.name, together) and storage.read(whole.name) != together:
            raise UserError(f"{storage.url}/{whole.name} differs from the segments it replaces")
    storage.remove(
        *(
            one.name
            for one in there
            if one != whole and not _is_fence(storage, one, contents[one], whole.last)
        )
    )


def _is_fence(storage: Storage, segment: Segment, content: bytes, last: int) -> bool:
    """Whether a segment stops a driver that does not know yet that it was replaced.

    Such a driver continues at the number where its successor began, with a `resumed` event.
    """
    if segment.is_compacted:
        return False
    try:
        events = parse(storage, segment, content)
    except UserError:
        return False
    return segment.last == last or any(event["event"] == "resumed" for _, event in events)
