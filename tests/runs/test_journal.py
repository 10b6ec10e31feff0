"""The journal in numbered files: durable, in order, one writer."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pcsearch.errors import PcsearchError, UserError
from pcsearch.runs.segmented_journal import SegmentJournal, read_segments, stored_events
from pcsearch.search.campaign import Campaign
from pcsearch.search.journal.events import Event
from pcsearch.search.journal.journal_file import Chain, FileJournal, read_events
from pcsearch.search.state import replay
from pcsearch.storage import LeaseLostError, Storage
from pcsearch.storage.local import LocalStorage
from pcsearch.storage.s3 import S3Storage
from tests.search.driving import Clock, drive, make_plan
from tests.storage.network import Network
from tests.storage.test_s3_faults import IMPATIENT, away


def numbered(numbers: range) -> list[Event]:
    return [{"event": "epoch", "epoch": number} for number in numbers]


def stored(storage: Storage) -> list[Event]:
    return [event for _, event in stored_events(storage)]


def fill(journal: SegmentJournal, numbers: range) -> None:
    for event in numbered(numbers):
        journal.append(event)


def test_events_come_back_in_order_and_the_next_driver_goes_on(storage: Storage) -> None:
    assert stored(storage) == []
    with SegmentJournal(storage) as journal:
        journal.append({"event": "campaign", "text": "λ/N\r\n\u2028x", "value": float("nan")})
        fill(journal, range(12))
    with SegmentJournal(storage) as journal:
        journal.append({"event": "resumed"})
    first, *rest = stored(storage)
    assert first == {"event": "campaign", "text": "λ/N\r\n\u2028x", "value": None}
    assert rest == [*numbered(range(12)), {"event": "resumed"}]
    assert storage.list("journal")[0] == "journal/00000001.jsonl"
    assert len(storage.list("journal")) == 14


def test_a_driver_that_was_replaced_is_stopped(storage: Storage) -> None:
    late = SegmentJournal(storage)
    fill(late, range(3))
    with SegmentJournal(storage) as journal:
        journal.append({"event": "resumed"})
        for _ in range(2):  # and stays so
            with pytest.raises(LeaseLostError, match=r"00000004\.jsonl"):
                late.append({"event": "resumed"})
        fill(journal, range(3, 5))
    late.close()
    assert stored(storage) == [
        *numbered(range(3)),
        {"event": "resumed"},
        *numbered(range(3, 5)),
    ]


def test_a_driver_that_has_not_read_everything_does_not_go_on(storage: Storage) -> None:
    """An earlier driver, cut off from the store, may have got one more event through."""
    early = SegmentJournal(storage, after=0)
    fill(early, range(3))
    read = len(stored(storage))
    fill(early, range(3, 4))
    with pytest.raises(LeaseLostError, match="4 events instead of 3"):
        SegmentJournal(storage, after=read)
    with SegmentJournal(storage, after=4) as journal:
        journal.append({"event": "resumed"})
    assert stored(storage) == [*numbered(range(4)), {"event": "resumed"}]


def test_of_many_drivers_one_goes_on(storage: Storage) -> None:
    together = threading.Barrier(6)

    def drive(driver: int) -> list[Event]:
        journal, written = SegmentJournal(storage), []
        together.wait()
        try:
            for number in range(10):
                event = {"event": "epoch", "driver": driver, "epoch": number}
                journal.append(event)
                written.append(event)
        except LeaseLostError:
            with pytest.raises(LeaseLostError):
                journal.append({"event": "late"})
        return written

    with ThreadPoolExecutor(6) as pool:
        written = [events for events in pool.map(drive, range(6)) if events]
    assert len(written) == 1
    assert stored(storage) == written[0]
    assert len(written[0]) == 10


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"event":"ep',
        b'{"event":"epoch"}',
        b'{"event":"epoch"}\n{"event',
        b"[1]\n",
        b'{"epoch":1}\n',
        b'{"event":"epoch","event":"asked"}\n',
        b'{"event":"epoch","value":NaN}\n',
        b'{"event":"\xff"}\n',
        b"[" * 100_000 + b"\n",
        b"\n",
        b"\x00" * 20,
    ],
)
@pytest.mark.parametrize("number", [2, 3], ids=["in the middle", "the last"])
def test_a_damaged_segment_is_named(tmp_path: Path, content: bytes, number: int) -> None:
    storage = LocalStorage(tmp_path)
    fill(SegmentJournal(storage), range(3))
    storage.write(f"journal/0000000{number}.jsonl", content)
    with pytest.raises(UserError, match=rf"journal/0000000{number}\.jsonl:[12]: .* is damaged"):
        stored(storage)


def test_a_gap_is_named_and_not_written_behind(storage: Storage) -> None:
    fill(SegmentJournal(storage), range(5))
    storage.remove("journal/00000003.jsonl")
    with pytest.raises(UserError, match=r"00000003\.jsonl is missing"):
        stored(storage)
    with pytest.raises(UserError, match=r"00000003\.jsonl is missing"):
        SegmentJournal(storage)


def test_a_segment_may_hold_several_events_and_other_files_are_passed_over(
    storage: Storage,
) -> None:
    storage.write("journal/00000001.jsonl", b'{"event":"a"}\n{"event":"b"}\n')
    for name in ("notes.txt", "1.jsonl", "00000003.jsonl.bak", "compacted-00000005-00000002.jsonl"):
        storage.write(f"journal/{name}", b"x")
    assert stored(storage) == [{"event": "a"}, {"event": "b"}]


def test_a_server_that_is_away_and_answers_that_are_lost_leave_each_event_once(
    s3: S3Storage, network: Network
) -> None:
    journal = SegmentJournal(s3)
    fill(journal, range(3))
    with away(network, 1.5):
        fill(journal, range(3, 6))
    network.lose_answer(b"PUT", 4)
    fill(journal, range(6, 9))
    assert len(network.lost) == 4
    assert stored(s3) == numbered(range(9))


def test_after_a_failure_nothing_is_appended(bucket: str, network: Network) -> None:
    storage = S3Storage(bucket, patience=IMPATIENT)
    journal = SegmentJournal(storage)
    fill(journal, range(2))
    network.switch_off()
    with pytest.raises(PcsearchError, match="is unreachable"):
        journal.append({"event": "unsure"})
    network.switch_on()
    with pytest.raises(PcsearchError, match="is unreachable"):
        journal.append({"event": "ended"})
    assert stored(storage) == numbered(range(2))


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_append_that_was_interrupted_is_settled_by_the_next(tmp_path: Path, when: str) -> None:
    class Interrupted(LocalStorage):
        armed = False

        def create(self, name: str, data: bytes) -> bool:
            if self.armed and when == "before":
                raise KeyboardInterrupt
            made = super().create(name, data)
            if self.armed:
                raise KeyboardInterrupt
            return made

    storage = Interrupted(tmp_path)
    journal = SegmentJournal(storage)
    fill(journal, range(2))
    storage.armed = True
    with pytest.raises(KeyboardInterrupt):
        journal.append({"event": "epoch", "epoch": 2})
    storage.armed = False
    journal.append({"event": "ended"})
    assert stored(storage) == [*numbered(range(3)), {"event": "ended"}]


def test_seals_go_on_from_driver_to_driver_and_through_compaction(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    for driver in range(3):
        with SegmentJournal(storage, compact_above=4) as journal:
            fill(journal, range(3 * driver, 3 * driver + 3))
    chain = Chain()
    assert [event for _, event in stored_events(storage, chain)] == numbered(range(9))
    assert (chain.lines, chain.sealed_from, chain.mismatches) == (9, 1, [])
    late = "journal/00000009.jsonl"
    storage.write(late, storage.read(late).replace(b'"epoch":8', b'"epoch":7'))
    chain = Chain()
    stored_events(storage, chain)
    assert [one.line for one in chain.mismatches] == [9]


def test_a_journal_without_seals_is_sealed_from_where_the_next_driver_goes_on(
    tmp_path: Path,
) -> None:
    storage = LocalStorage(tmp_path)
    for number in (1, 2, 3):
        event = b'{"event":"epoch","epoch":%d}\n' % (number - 1)
        storage.write(f"journal/{number:08d}.jsonl", event)
    with SegmentJournal(storage) as journal:
        fill(journal, range(3, 5))
    chain = Chain()
    assert [event for _, event in stored_events(storage, chain)] == numbered(range(5))
    assert (chain.sealed_from, chain.mismatches) == (4, [])


_DRIVER = """
import itertools, sys
from pcsearch.storage import open_storage
from pcsearch.runs.segmented_journal import SegmentJournal
journal = SegmentJournal(open_storage(sys.argv[1]))
for number in itertools.count(int(sys.argv[2])):
    journal.append({"event": "epoch", "epoch": number})
    print(number, flush=True)
"""


def test_what_a_killed_driver_was_told_is_durable_is_there(storage: Storage) -> None:
    begin = 0
    for _ in range(2):
        command = [sys.executable, "-c", _DRIVER, storage.url, str(begin)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            for _ in range(20):
                last = int(process.stdout.readline())
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
        events = stored(storage)
        assert events == numbered(range(len(events)))
        assert len(events) > last
        begin = len(events)


@pytest.mark.parametrize("most_epochs", [None, 40])
def test_a_campaign_over_segments_is_that_over_a_file(
    tmp_path: Path, most_epochs: int | None
) -> None:
    storage, path = LocalStorage(tmp_path / "run"), tmp_path / "journal.jsonl"
    with SegmentJournal(storage) as segments, FileJournal(path) as file:
        for journal in (segments, file):
            campaign = Campaign(make_plan(), journal, Clock())
            drive(campaign, most_epochs=most_epochs)
            if most_epochs is None:
                journal.append({"event": "ended", "t": 1e4, "status": "complete"})
    events = read_segments(storage)
    assert events == list(read_events(path))
    assert replay(events).status == ("complete" if most_epochs is None else "running")
    assert len(storage.list("journal")) == (2 if most_epochs is None else len(events))


def test_events_that_no_campaign_writes_are_refused(storage: Storage) -> None:
    with SegmentJournal(storage) as journal:
        drive(Campaign(make_plan(), journal, Clock()), most_epochs=3)
    count = len(read_segments(storage))
    journal = SegmentJournal(storage)
    journal.append({"event": "epoch", "t": 1.0, "trial": "nobody's", "epoch": 1})
    with pytest.raises(UserError, match=rf"{count + 1:08d}\.jsonl:1: .*does not belong here"):
        read_segments(storage)
    storage.write(f"journal/{count + 1:08d}.jsonl", b'{"event":"from the future","t":1.0}\n')
    with pytest.raises(UserError, match=rf"{count + 1:08d}\.jsonl:1: .*unknown kind"):
        read_segments(storage)
