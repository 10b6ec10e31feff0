"""A campaign followed from its run's journal, while another thread or process writes it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from pcsearch.cluster.follow import Followed, follow
from pcsearch.execution import follow_run
from pcsearch.execution.follow_run import run_lines
from pcsearch.runs.folder import RunFolder, held, new_run
from pcsearch.runs.segmented_journal import SegmentJournal, compact, events_after
from pcsearch.search.journal.journal_file import Event, FileJournal
from pcsearch.search.observer import Silent
from pcsearch.search.state import CampaignState
from pcsearch.storage.local import LocalStorage
from tests.cli.campaigns import drive, plan, silent


class Seen(Silent):
    """What an observer was told."""

    def __init__(self) -> None:
        self.past: list[Event] = []
        self.events: list[Event] = []
        self.width = -1
        self.ticks = 0
        self.status = ""

    def history(self, events: Iterable[Event]) -> None:
        self.past = list(events)

    def started(self, run_folder: Any, plan: Any, max_concurrent: int) -> None:
        self.width = max_concurrent

    def event(self, event: Event, state: CampaignState) -> None:
        self.events.append(event)

    def tick(
        self, state: CampaignState, elapsed_seconds: float, max_concurrent: int, waiting: int = 0
    ) -> None:
        self.ticks += 1

    def finished(self, status: str) -> None:
        self.status = status


def followed(folder: RunFolder, seen: Seen) -> Followed:
    (end,) = follow(run_lines(folder), seen, lambda line: None, None)
    return end


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow_run, "_LOOK_SECONDS", 0.01)


def test_every_event_arrives_once_while_the_journal_is_written(tmp_path: Path) -> None:
    """The journal is read in the middle of lines: the writer is much faster than a campaign."""
    began = threading.Event()
    seen = Seen()

    def run() -> None:
        with (
            new_run(tmp_path, "run", "name: demo\n", {}) as folder,
            FileJournal(folder.journal) as journal,
        ):

            def tick(state: CampaignState, seconds: float) -> None:
                began.set()
                time.sleep(0.02)

            drive(plan(), listener=silent, tick=tick, journal=journal).end("complete")

    writer = threading.Thread(target=run, daemon=True)
    writer.start()
    assert began.wait(60)
    folder = RunFolder(tmp_path / "run")
    end = followed(folder, seen)
    writer.join()
    assert seen.past + seen.events == list(folder.events())
    assert seen.events, "it was followed while it ran"
    assert seen.ticks
    assert seen.width > 0
    assert (end.state.status, seen.status) == ("complete", "complete")
    assert end.resume_command == f"pcsearch resume {end.run}"


def test_a_run_that_has_ended_has_no_ticks(tmp_path: Path) -> None:
    with (
        new_run(tmp_path, "run", "name: demo\n", {}) as folder,
        FileJournal(folder.journal) as journal,
    ):
        drive(plan(), listener=silent, journal=journal).end("failed")
    seen = Seen()
    end = followed(folder, seen)
    assert (seen.width, seen.ticks, seen.status, end.state.status) == (0, 0, "failed", "failed")


def test_a_driver_that_vanishes_ends_the_following(tmp_path: Path) -> None:
    with (
        new_run(tmp_path, "run", "name: demo\n", {}) as folder,
        FileJournal(folder.journal) as journal,
    ):
        drive(plan(), listener=silent, until=5, journal=journal)
    with folder.journal.open("ab") as journal_file:
        journal_file.write(b'{"event": "epo')  # a torn line
    holds, release = threading.Event(), threading.Event()

    def hold() -> None:
        with held(folder):
            holds.set()
            release.wait()

    holder = threading.Thread(target=hold, daemon=True)
    holder.start()
    assert holds.wait(60)
    lines = run_lines(folder)
    kinds = []
    for line in lines:
        kinds.append(json.loads(line)["pcsearch"])
        if kinds.count("tick") == 3:
            release.set()
            holder.join()
    assert set(kinds) == {"history", "started", "tick", "finished"}
    seen = Seen()
    end = followed(folder, seen)
    assert seen.status == "interrupted"
    assert end.state.status == "running", "by which its end is told from an orderly one"


def test_the_events_after_some_in_a_store_with_one_file_an_event(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    with SegmentJournal(storage) as journal:
        drive(plan(), listener=silent, until=4, journal=journal)
    every = events_after(storage, 0)
    assert len(every) > 6
    for _ in range(2):
        for number in (0, 1, len(every) - 1, len(every), len(every) + 3):
            assert events_after(storage, number) == every[number:]
        compact(storage)
