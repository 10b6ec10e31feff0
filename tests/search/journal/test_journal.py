"""The journal: what is on disk, what a torn line means, what a damaged one says."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pcsearch.errors import UserError
from pcsearch.search.journal.journal_file import LINE_BYTES, Event, FileJournal, encode, read_events
from pcsearch.search.state import replay
from tests.search.journals import all_kinds, write_events

EVENTS = all_kinds()
Lines = list[bytes]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return write_events(tmp_path / "journal.jsonl", EVENTS)


def test_events_are_read_back_and_a_torn_last_line_is_no_event(journal: Path) -> None:
    assert list(read_events(journal)) == EVENTS
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"event":"resumed","val')
    assert list(read_events(journal)) == EVENTS
    resumed = {"event": "resumed", "attempt": 3, "host": "λ", "pid": 1, "version": "1", "t": 1e5}
    with FileJournal(journal) as open_journal:  # the next writer cuts the torn line off
        open_journal.append(resumed)
    assert list(read_events(journal)) == [*EVENTS, resumed]


def test_a_torn_line_longer_than_what_is_read_at_once_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    for before in (b"", b'{"event":"a"}\n'):
        path.write_bytes(before + b"x" * 300_000)
        FileJournal(path).close()
        assert path.read_bytes() == before


def test_a_tail_that_no_event_has_is_left_alone(journal: Path) -> None:
    os.truncate(journal, 10**12)
    with pytest.raises(OSError, match="neither an event"):
        FileJournal(journal)
    assert journal.stat().st_size == 10**12
    with pytest.raises(UserError, match=f"{len(EVENTS) + 1}: .* longer than 8 MB"):
        list(read_events(journal))


def test_numbers_that_are_not_finite_become_null() -> None:
    line = encode({"event": "epoch", "metrics": {"nll": float("inf"), "top1": float("nan")}})
    assert json.loads(line) == {"event": "epoch", "metrics": {"nll": None, "top1": None}}


def test_an_error_with_half_a_character_can_be_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    number = next(n for n, event in enumerate(EVENTS) if event["event"] == "failed")
    with FileJournal(path) as journal:
        for event in EVENTS[:number]:
            journal.append(event)
        name = os.fsdecode(b"gr\xfcn.jpg")
        journal.append(EVENTS[number] | {"error": f"cannot read {name}\r\nλ"})
    assert list(read_events(path))[-1]["error"] == "cannot read gr?n.jpg\r\nλ"


def number_of(kind: str, occurrence: int = 0) -> int:
    return [n for n, event in enumerate(EVENTS) if event["event"] == kind][occurrence]


def first(kind: str, **changes: Any) -> bytes:
    event: Event = EVENTS[number_of(kind)] | changes
    return json.dumps(event).encode()


def replaced(kind: str, line: bytes) -> Callable[[Lines], tuple[Lines, int]]:
    """The first line of a kind is another one; and its number."""

    def change(lines: Lines) -> tuple[Lines, int]:
        number = number_of(kind)
        return [*lines[:number], line, *lines[number + 1 :]], number + 1

    return change


def twice(kind: str) -> Callable[[Lines], tuple[Lines, int]]:
    def change(lines: Lines) -> tuple[Lines, int]:
        number = number_of(kind)
        return [*lines[: number + 1], *lines[number:]], number + 2

    return change


def without(kind: str, told_on: int) -> Callable[[Lines], tuple[Lines, int]]:
    def change(lines: Lines) -> tuple[Lines, int]:
        number = number_of(kind)
        return [*lines[:number], *lines[number + 1 :]], told_on

    return change


FURTHER = EVENTS[1]["spec"] | {"trial": "digits/compact_cnn/control/search-001", "index": 1}
PLAN = EVENTS[0]["plan"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (replaced("epoch", b'{"event":'), "not JSON"),
        (replaced("epoch", b""), "not JSON"),
        (replaced("epoch", b"\xff\xfe"), "not UTF-8"),
        (replaced("epoch", b"\0" * 40), "not JSON"),
        (replaced("epoch", b"[" * 100_000), "nested too deep"),
        (replaced("epoch", b'{"a":' * 100_000), "nested too deep"),
        (replaced("epoch", b'{"event":"epoch","event":"epoch"}'), "a key twice"),
        (replaced("epoch", b'{"event":"epoch","epoch":NaN}'), "NaN"),
        (replaced("epoch", b'{"event":"epoch","value":-Infinity}'), "-Infinity"),
        (replaced("epoch", b'{"event":"epoch","epoch":' + b"9" * 5000 + b"}"), "5000 digits"),
        (replaced("epoch", b'{"event":"epoch","value":1e999}'), "its"),
        (replaced("failed", first("failed", error="\ud83d\ud83d")), "half a character"),
        (replaced("epoch", b'"' + b"x" * (LINE_BYTES + 9)), "longer than 8 MB"),
        (replaced("epoch", first("epoch", trial="digits/x/pc/search-000")), "never asked"),
        (replaced("asked", first("asked", spec=FURTHER)), "not the next trial; .* must be 0"),
        (replaced("epoch", first("epoch", epoch=2)), "epoch 2 .* follows epoch 0"),
        (replaced("epoch", first("epoch", decision="complete")), "has the decision complete"),
        (replaced("epoch", first("epoch", value=None)), "its value is null"),
        (replaced("epoch", first("epoch", test={"top1": 99.0})), "test metrics"),
        (replaced("repeated", first("repeated", epoch=9)), "did not happen before"),
        (replaced("campaign", first("asked")), "does not begin with its campaign"),
        (replaced("chosen", first("chosen", arm="jeffreys")), 'no arm "jeffreys"'),
        (replaced("chosen", first("chosen", study="cub200/vgg16")), 'no arm .* "cub200/vgg16"'),
        (replaced("chosen", first("chosen", source="me")), 'its source "me"'),
        (replaced("resumed", first("resumed", attempt=7)), "its attempt is 7"),
        (replaced("extended", first("extended", plan=PLAN | {"studies": PLAN["studies"][:1]})),
         "leaves out fieldguide/compact_cnn"),
        (twice("campaign"), "begins a second time"),
        (twice("asked"), "was asked before"),
        (twice("epoch"), "epoch 1 .* follows epoch 1"),
        (twice("failed"), "had ended"),
        (twice("chosen"), "was decided before"),
        (twice("extended"), "without a resume before it"),
        (without("campaign", told_on=1), "does not begin with its campaign"),
        (without("asked", told_on=3), "not the next trial; .* must be 0"),
        (without("resumed", told_on=number_of("resumed") + 1), "was not resumed"),
    ],
)  # fmt: skip
def test_a_line_that_does_not_belong_there_is_named(
    journal: Path, change: Callable[[Lines], tuple[Lines, int]], told: str
) -> None:
    lines, number = change(journal.read_bytes().splitlines())
    journal.write_bytes(b"\n".join([*lines, b""]))
    with pytest.raises(UserError, match=told) as refused:
        list(read_events(journal))
    assert str(refused.value).startswith(f"{journal}:{number}: ")
    assert "damaged" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        ("schema_version", 99, "format 99"),
        ("schema_version", [], r"format \[\]"),
        ("grace_epochs", 0, "grace_epochs is 0"),
        ("reduction_factor", 1, "reduction_factor is 1"),
        ("max_epochs", 10**20, "max_epochs is"),
        ("budget_seconds", "inf", "budget_seconds is"),
        ("metric", "top5", "metric is"),
        ("name", "../x", "not a valid folder name"),
        ("confirm_seeds", [1, 1], "confirm_seeds"),
        ("confirm_looks", [2, 2, 3], "confirm_looks"),
        ("confirm_looks", [0, 3], "confirm_looks"),
        ("confirm_looks", [2], "confirm_looks"),
        ("full_trainings", -1, "full_trainings"),
        ("rung_rule", "loud", "rung_rule"),
        ("widen", "always", "widen"),
        ("studies", [], "studies are empty"),
        ("studies", PLAN["studies"] * 2, "two have the same id"),
        ("studies.0.id", "x/y", "not DATASET/BACKBONE"),
        ("studies.0.num_classes", 0, "num_classes is 0"),
        ("studies.0.images.test", -1, "images.test is -1"),
        ("studies.0.arms", [], "arms are empty"),
        ("studies.0.arms.0.borrows", "jeffreys", "borrows"),
        ("studies.0.arms.1.space", {}, "its parameter .* has no space"),
        ("studies.0.arms.1.parameter", None, "parameter is null"),
        ("studies.0.arms.0.space.lr.low", None, "not a range"),
        ("studies.0.arms.0.fixed.lr", "nan", "not finite"),
        ("studies.0.arms.0.name", "../..", "not a valid name of an arm"),
        ("gpus", 3, 'key "gpus" is unknown'),
        ("seed", ..., "seed is missing"),
    ],
)
def test_a_plan_that_no_recipe_leads_to_is_refused(
    tmp_path: Path, place: str, value: object, told: str
) -> None:
    campaign: Any = json.loads(encode(EVENTS[0]))
    target = campaign["plan"]
    *above, last = place.split(".")
    for part in above:
        target = target[int(part) if part.isdigit() else part]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    path = tmp_path / "journal.jsonl"
    path.write_text(json.dumps(campaign) + "\n")
    with pytest.raises(UserError, match=told) as refused:
        list(read_events(path))
    assert str(refused.value).startswith(f"{path}:1: ")
    assert "\n" not in str(refused.value)


def test_an_event_of_a_later_version_is_not_called_damage(journal: Path) -> None:
    with journal.open("a") as file:
        file.write('{"event":"paused","t":1}\n')
    with pytest.raises(UserError, match=r'"paused": was this written by a newer') as refused:
        list(read_events(journal))
    assert "damaged" not in str(refused.value)


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([], "nothing was started"),
        ([{"event": "asked"}], "nothing was started"),
        ([{"event": "campaign", "plan": {"schema_version": 99}}], "format 99"),
    ],
)
def test_a_journal_that_cannot_be_replayed_says_why(events: list[Event], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replay(events)
