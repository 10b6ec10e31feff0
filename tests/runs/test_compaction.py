"""A journal in one file: the same events, whatever is cut off when."""

from __future__ import annotations

import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsearch.errors import UserError
from pcsearch.runs.segmented_journal import Segment, SegmentJournal, compact
from pcsearch.storage import LeaseLostError, Storage
from pcsearch.storage.local import LocalStorage
from tests.runs.test_journal import fill, numbered, stored


def test_an_ended_campaign_is_compacted_and_can_be_gone_on_with(storage: Storage) -> None:
    with SegmentJournal(storage) as journal:
        fill(journal, range(9))
        journal.append({"event": "ended"})
    expected = [*numbered(range(9)), {"event": "ended"}]
    assert stored(storage) == expected
    assert storage.list("journal") == [  # and the last one, see below
        "journal/00000010.jsonl",
        "journal/compacted-00000001-00000010.jsonl",
    ]
    with SegmentJournal(storage) as journal:
        journal.append({"event": "resumed"})
        journal.append({"event": "ended"})
    assert stored(storage) == [*expected, {"event": "resumed"}, {"event": "ended"}]
    assert storage.list("journal") == [
        "journal/00000011.jsonl",
        "journal/00000012.jsonl",
        "journal/compacted-00000001-00000012.jsonl",
    ]


def test_a_campaign_that_has_not_ended_is_left_as_it_is(storage: Storage) -> None:
    with SegmentJournal(storage) as journal:
        fill(journal, range(3))
    assert len(storage.list("journal")) == 3


def test_many_segments_are_compacted_on_opening(storage: Storage) -> None:
    for number in range(1, 13):
        storage.write(Segment(number, number).name, b'{"event":"epoch","epoch":%d}\n' % number)
    assert len(stored(storage)) == 12
    SegmentJournal(storage, compact_above=12)
    assert len(storage.list("journal")) == 12
    with SegmentJournal(storage, compact_above=11) as journal:
        assert len(storage.list("journal")) == 2
        journal.append({"event": "resumed"})
    SegmentJournal(storage, compact_above=1)  # what is compacted does not count
    assert len(storage.list("journal")) == 3
    assert stored(storage) == [*numbered(range(1, 13)), {"event": "resumed"}]


@pytest.mark.slow
def test_more_than_a_page_of_segments(storage: Storage) -> None:
    def write(number: int) -> None:
        storage.write(Segment(number, number).name, b'{"event":"epoch","epoch":%d}\n' % number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(1, 1104)))
    assert stored(storage) == numbered(range(1, 1104))
    with SegmentJournal(storage) as journal:
        assert len(storage.list("journal")) == 2
        journal.append({"event": "resumed"})
    assert stored(storage) == [*numbered(range(1, 1104)), {"event": "resumed"}]


@pytest.mark.parametrize("ended", [False, True])
def test_a_driver_that_wakes_up_after_compaction_is_stopped(storage: Storage, ended: bool) -> None:
    """Its number must not be free again, or it would write behind the others' backs."""
    drivers = []
    for driver in range(3):
        journal = SegmentJournal(storage, compact_above=4)
        journal.append({"event": "resumed", "driver": driver})
        fill(journal, range(6))
        drivers.append(journal)
    if ended:
        drivers[-1].append({"event": "ended"})
        drivers[-1].close()
    SegmentJournal(storage, compact_above=4)
    before = stored(storage)
    assert len(storage.list("journal")) < 8
    for late in drivers[:-1]:
        with pytest.raises(LeaseLostError):
            late.append({"event": "late"})
    SegmentJournal(storage).append({"event": "resumed"})
    with pytest.raises(LeaseLostError):
        drivers[-1].append({"event": "late"})
    assert stored(storage) == [*before, {"event": "resumed"}]


def test_a_compaction_that_was_cut_off_is_harmless_and_finished_later(tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    class Dying(LocalStorage):
        steps = 10**9

        def create(self, name: str, data: bytes) -> bool:
            self.count()
            return super().create(name, data)

        def remove(self, *names: str) -> None:
            for name in names:
                self.count()
                super().remove(name)

        def count(self) -> None:
            if self.steps <= 0:
                raise KilledError
            self.steps -= 1

    for steps in range(12):
        storage = Dying(tmp_path / str(steps))
        fill(SegmentJournal(storage), range(8))
        storage.steps = steps
        try:
            compact(storage)
        except KilledError:
            assert steps < 8
        else:
            assert steps >= 8  # one file made, seven removed
        storage.steps = 10**9
        assert stored(storage) == numbered(range(8))
        with SegmentJournal(storage) as journal:
            journal.append({"event": "ended"})
        assert stored(storage) == [*numbered(range(8)), {"event": "ended"}]
        assert storage.list("journal") == [
            "journal/00000009.jsonl",
            "journal/compacted-00000001-00000009.jsonl",
        ]


def test_a_damaged_journal_is_not_compacted(storage: Storage) -> None:
    fill(SegmentJournal(storage), range(5))
    storage.write("journal/00000002.jsonl", b"{")
    with pytest.raises(UserError, match="00000002"):
        compact(storage)
    assert len(storage.list("journal")) == 5


def test_readers_see_all_events_while_it_is_compacted(storage: Storage) -> None:
    fill(SegmentJournal(storage), range(40))
    done = threading.Event()

    def read() -> int:
        reads = 0
        while not done.is_set() or not reads:
            assert stored(storage) == numbered(range(40))
            reads += 1
        return reads

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        compact(storage)
        done.set()
        assert reading.result() > 0
    assert len(storage.list("journal")) == 2


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(1, 9)), st.sets(st.integers(1, 9), max_size=3))
def test_any_files_make_up_the_whole_journal_or_are_refused(
    single: set[int], compacted: set[int]
) -> None:
    """Whatever parts were removed or left: nothing is skipped, nothing comes twice."""
    segments = [Segment(number, number) for number in single]
    segments += [Segment(1, last, is_compacted=True) for last in compacted]
    last, covered = max(single | compacted, default=0), max(compacted, default=0)
    with tempfile.TemporaryDirectory() as folder:
        storage = LocalStorage(Path(folder))
        for one in segments:
            numbers = range(one.first, one.last + 1)
            content = "".join(f'{{"event":"epoch","epoch":{number}}}\n' for number in numbers)
            storage.write(one.name, content.encode())
        if set(range(covered + 1, last + 1)) <= single:
            assert stored(storage) == numbered(range(1, last + 1))
        else:
            with pytest.raises(UserError, match="is missing"):
                stored(storage)
