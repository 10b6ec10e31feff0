"""The seals of a journal's lines: what was changed, lost, added or moved shows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pcsearch.search.journal.journal_file import Chain, FileJournal, encode, read_events, sealed
from tests.search.journals import measured, write_events

EVENTS = measured()
Lines = list[bytes]
OLD = Path(__file__).parent / "journal_without_looks.jsonl"


def followed(path: Path) -> Chain:
    chain = Chain()
    for line in path.read_bytes().splitlines():
        chain.check(line)
    return chain


def test_a_seal_is_a_hash_over_the_one_before_and_the_line(tmp_path: Path) -> None:
    path = write_events(tmp_path / "journal.jsonl", EVENTS)
    before = ""
    for event, line in zip(EVENTS, path.read_text().splitlines(), strict=True):
        body = json.dumps(event, separators=(",", ":"), ensure_ascii=False)
        seal = hashlib.sha256(f"{before}\n{body}".encode()).hexdigest()[:32]
        assert line == f'{body[:-1]},"seal":"{seal}"}}'
        before = seal
    chain = Chain()
    assert list(read_events(path, chain)) == EVENTS
    assert (chain.mismatches, chain.sealed_from, chain.head) == ([], 1, before)


def edited(lines: Lines) -> Lines:
    return [*lines[:9], lines[9].replace(b'"seconds":1.0', b'"seconds":1.5'), *lines[10:]]


CHANGES: dict[str, tuple[Callable[[Lines], Lines], int]] = {
    "edited": (edited, 10),
    "lost": (lambda lines: [*lines[:9], *lines[10:]], 10),
    "doubled": (lambda lines: [*lines[:10], *lines[9:]], 11),
    "moved": (lambda lines: [*lines[:9], lines[10], lines[9], *lines[11:]], 10),
    "another's": (lambda lines: [*lines[:9], sealed({"event": "x"}, "")[0][:-1], *lines[9:]], 10),
    "unsealed": (lambda lines: [*lines[:9], encode(EVENTS[9]).encode(), *lines[10:]], 10),
    "a seal of another line": (
        lambda lines: [*lines[:9], lines[9][:-34] + lines[8][-34:], *lines[10:]],
        10,
    ),
    "the first lost": (lambda lines: lines[1:], 1),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_first_line_that_does_not_fit_is_named(tmp_path: Path, name: str) -> None:
    change, number = CHANGES[name]
    path = write_events(tmp_path / "journal.jsonl", EVENTS)
    path.write_bytes(b"\n".join([*change(path.read_bytes().splitlines()), b""]))
    chain = followed(path)
    assert chain.mismatches[0].line == number
    assert len(chain.mismatches) <= 3, "lines after it fit to each other"


def test_a_program_that_writes_the_same_content_otherwise_breaks_no_seal(tmp_path: Path) -> None:
    path = write_events(tmp_path / "journal.jsonl", EVENTS)
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert events[5]["metrics"].pop("train_loss") == 1.5
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    assert [one.line for one in followed(path).mismatches] == [6]


def test_a_torn_line_is_cut_off_and_the_next_is_sealed_to_the_last_whole_one(
    tmp_path: Path,
) -> None:
    path = write_events(tmp_path / "journal.jsonl", EVENTS[:-1])
    whole = write_events(tmp_path / "whole.jsonl", EVENTS).read_bytes()
    with path.open("ab") as file:
        file.write(whole.splitlines()[-1][:30])
    with FileJournal(path) as journal:
        journal.append(EVENTS[-1])
    assert path.read_bytes() == whole


def test_a_journal_of_an_earlier_version_is_sealed_from_where_it_is_resumed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(OLD.read_bytes())
    resumed = {"event": "resumed", "attempt": 1, "host": "h", "pid": 1, "version": "1", "t": 1e5}
    for number in (1, 2):
        with FileJournal(path) as journal:
            journal.append(resumed | {"attempt": number})
    chain = Chain()
    assert len(list(read_events(path, chain))) == 39
    assert (chain.sealed_from, chain.mismatches) == (38, [])
    # the first seal is over all lines before it, sealed or not
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"seconds":1.0', b'"seconds":9.0', 1))
    assert [one.line for one in followed(path).mismatches] == [38]
