"""A run folder of journal format 1, whose driver was killed, is read and resumed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.cli import CommandLine, epoch_events, read_journal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

OLD = Path(__file__).parent / "run_of_format_1"
"""Three digits, 4 search trials an arm; a finalist had trained one epoch. No checkpoints."""


def test_it_is_resumed_to_its_end(pcsearch: CommandLine) -> None:
    run = pcsearch.folder / "runs" / "old"
    shutil.copytree(OLD, run)
    before = read_journal(OLD / "journal.jsonl")
    table = pcsearch.run("summary", "runs/old")
    assert table.code == 0, table
    assert "interrupted" in table.out
    nothing = pcsearch.run("show", "runs/old", "digit 7")
    assert nothing.code == 2
    assert "no confirm trial has ended, so there are no predictions yet" in nothing.err
    trial = pcsearch.run("show", "runs/old", "pc/search-000")
    assert trial.code == 0, trial
    assert "search trial of PC" in trial.out

    resumed = pcsearch.run("resume", "runs/old")
    assert resumed.code == 0, resumed
    events = read_journal(run / "journal.jsonl")
    assert events[: len(before)] == before
    assert events[-1]["event"] == "ended"
    assert events[-1]["status"] == "complete"
    repeated = [event for event in events if event["event"] == "repeated"]
    assert [event["same"] for event in repeated] == [True]  # the finalist's first, bit for bit
    asked = [event["spec"]["trial"] for event in events if event["event"] == "asked"]
    assert len(asked) == len(set(asked)) == 16
    assert len(epoch_events(events)) == (4 * 3 + 4 * 1) + 4 * 3 + 4 * 2
    summary = json.loads(pcsearch.run("summary", "runs/old", "--json").out)
    assert summary["studies"][0]["arms"]["pc"]["gain"]["mean"] is not None
    analysis = summary["studies"][0]["analysis"]  # predictions are kept from here on
    assert analysis["problems"] == []
    assert [len(arm["seeds"]) for arm in analysis["arms"].values()] == [2, 2]
