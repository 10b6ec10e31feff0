"""One finished campaign and one interrupted campaign, shared by the tests that look at them."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cli import (
    CommandLine,
    Process,
    Result,
    descendants,
    ended,
    epoch_events,
    overrides,
    wait_for,
    workers,
)

TRIALS, STARTUP = 5, 1  # few shared points, so that the arms find different rates
ASHA = {"max_epochs": 4, "grace_epochs": 1, "reduction_factor": 2, "full_trainings": 1}
RUNGS = (1, 2)
REPEATS = 2
CONFIRM_SEEDS = 3
CONFIRM_EPOCHS = 2


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image cache for all commands of these tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def pcsearch(tmp_path: Path, cache: Path) -> CommandLine:
    """The command line in an empty folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    return CommandLine(folder, cache)


@dataclass(frozen=True)
class Finished:
    """A campaign over two studies that ran to its end as the run `done`."""

    pcsearch: CommandLine
    result: Result
    folder: Path
    summary: dict[str, Any]
    trials: list[dict[str, Any]]
    events: list[dict[str, Any]]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Finished:
    command = CommandLine(tmp_path_factory.mktemp("finished"), cache)
    result = command.run(
        "tune",
        "quickstart",
        *overrides(
            **{"data.fieldguide": {"species": 5, "images_per_species": 12}},
            search={"trials": TRIALS, "startup_trials": STARTUP},
            asha=ASHA,
            finalists={"configs": 1, "repeats": REPEATS},
            confirm={"seeds": CONFIRM_SEEDS, "epochs": CONFIRM_EPOCHS},
        ),
        "--name",
        "done",
        "--plain",
    )
    assert result.code == 0, result
    return Finished(
        pcsearch=command,
        result=result,
        folder=command.folder / "runs" / "done",
        summary=command.summary("done"),
        trials=command.trials("done"),
        events=command.events("done"),
    )


@dataclass(frozen=True)
class Interrupted:
    """A campaign that was looked at while it ran, then ended by one Ctrl-C.

    Attributes:
        running: `summary --json` while it ran.
        rows: `trials --json` while it ran.
        second: What a second process with the same run name got.
        pid: The first process.
        result: How the first process ended; `seconds` counts from Ctrl-C.
        left_over: Its processes that were still there five seconds later.
        summary: `summary --json` afterwards.
    """

    pcsearch: CommandLine
    running: dict[str, Any]
    rows: list[dict[str, Any]]
    second: Result
    pid: int
    result: Result
    left_over: list[Process]
    summary: dict[str, Any]


@pytest.fixture(scope="session")
def interrupted(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Interrupted:
    command = CommandLine(tmp_path_factory.mktemp("interrupted"), cache)
    arguments = ("tune", "quickstart", "datasets=[digits]", "--name", "busy", "--plain")
    process = command.start(*arguments, *overrides(search={"trials": 40}, asha={"max_epochs": 60}))
    wait_for(lambda: epoch_events(command.events("busy")), process)
    running, rows = command.summary("busy"), command.trials("busy")
    second = command.run(*arguments)
    wait_for(lambda: workers(process.pid), process)
    below = descendants(process.pid)
    process.send_signal(signal.SIGINT)
    result = ended(process, timeout=60)
    until = time.monotonic() + 5
    while (left := [other for other in below if other.is_alive]) and time.monotonic() < until:
        time.sleep(0.1)
    summary = command.summary("busy")
    return Interrupted(command, running, rows, second, process.pid, result, left, summary)
