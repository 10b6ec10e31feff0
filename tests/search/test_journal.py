"""The journal: what is on disk, what a torn line means."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pcsearch.errors import UserError
from pcsearch.search.journal import FileJournal, encode, read_events
from pcsearch.search.state import replay


def test_events_are_read_back_and_a_torn_last_line_is_no_event(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with FileJournal(path) as journal:
        journal.append({"event": "a", "value": 1.5, "text": "λ/N\r\nx"})
        journal.append({"event": "b", "value": None})
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"event":"c","val')
    assert [event["event"] for event in read_events(path)] == ["a", "b"]
    with FileJournal(path) as journal:  # the next writer cuts the torn line off
        journal.append({"event": "d"})
    assert path.read_bytes() == whole + b'{"event":"d"}\n'


def test_numbers_that_are_not_finite_become_null() -> None:
    line = encode({"event": "epoch", "metrics": {"nll": float("inf"), "top1": float("nan")}})
    assert json.loads(line) == {"event": "epoch", "metrics": {"nll": None, "top1": None}}


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"event":"a"}\n{"event":\n{"event":"b"}\n')
    with pytest.raises(UserError, match=r"journal\.jsonl:2: .*damaged"):
        list(read_events(path))


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([], "nothing was started"),
        ([{"event": "asked"}], "nothing was started"),
        ([{"event": "campaign", "plan": {"schema_version": 99}}], "format 99"),
    ],
)
def test_a_journal_that_cannot_be_replayed_says_why(events: list, message: str) -> None:
    with pytest.raises(UserError, match=message):
        replay(events)
