"""Five hundred trials in the same processes: nothing grows with their number, nothing is left."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from statistics import median

import pytest

from tests.e2e.cli import CommandLine, Process, Result, descendants, ended, overrides, workers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TRIALS = 500
WARM, EVERY = 100, 10
"""Trials until memory, files and threads should be what they stay, and between two looks."""

LOOKS = 8
"""Looks at the beginning and at the end whose medians are compared."""

STEPS = 3
"""Times that a count may exceed all before; one leaked every 100 trials would do so four times."""

GROWTH = 0.05
GONE_SECONDS = 15
CAMPAIGN = (
    "quickstart",
    "datasets=[digits]",
    "data.classes=[1, 7, 8]",
    *overrides(
        search={"trials": TRIALS // 2, "sampler": "random"},
        asha={"max_epochs": 2, "grace_epochs": 1, "reduction_factor": 4},
        finalists={"configs": 0, "repeats": 0},
        confirm={"seeds": 0},
        resources={"max_concurrent": 2},
    ),
)


@dataclass(frozen=True)
class Look:
    """A process at one moment."""

    trials: int
    private_kib: int
    files: int
    threads: int


@dataclass(frozen=True)
class Watched:
    """The campaign, looked at while it ran; `below` is every process it was seen to have."""

    command: CommandLine
    temporary: Path
    result: Result
    driver: list[Look]
    workers: dict[Process, list[Look]]
    below: set[Process]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Watched]:
    command = CommandLine(tmp_path_factory.mktemp("leaks"), cache, workers="started")
    # sockets of Ray's lie in there, whose paths may not be long
    temporary = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(temporary))
        process = command.start("tune", *CAMPAIGN, "--name=run", "--plain")
    driver: list[Look] = []
    below: set[Process] = set()
    of_workers: dict[Process, list[Look]] = {}
    journal, wanted = command.folder / "runs/run/journal.jsonl", WARM
    while process.poll() is None:
        trials = _ended(journal)
        if trials >= wanted:
            wanted = trials + EVERY
            below |= set(descendants(process.pid))
            driver += _look(process.pid, trials)
            for worker in workers(process.pid):
                same = next((other for other in of_workers if other.pid == worker.pid), worker)
                of_workers.setdefault(same, []).extend(_look(worker.pid, trials))
        time.sleep(0.1)
    yield Watched(command, temporary, ended(process), driver, of_workers, below)
    subprocess.run(["rm", "-r", str(temporary)], check=True)


def _ended(journal: Path) -> int:
    """Trials that have ended by now, counted without parsing what may be half a line."""
    content = journal.read_bytes() if journal.is_file() else b""
    return content.count(b'"decision":"complete"') + content.count(b'"decision":"prune"')


def _look(pid: int, trials: int) -> list[Look]:
    folder = Path("/proc") / str(pid)
    try:
        memory = (folder / "smaps_rollup").read_text().splitlines()
        private = sum(int(line.split()[1]) for line in memory if line.startswith("Private"))
        files, threads = os.listdir(folder / "fd"), os.listdir(folder / "task")  # noqa: PTH208
    except OSError:  # it ended meanwhile
        return []
    return [Look(trials, private, len(files), len(threads))]


def test_all_trials_ran_in_the_same_two_workers(watched: Watched) -> None:
    assert watched.result.code == 0, watched.result
    assert _ended(watched.command.folder / "runs/run/journal.jsonl") == TRIALS
    assert len(watched.workers) == 2
    for looks in [watched.driver, *watched.workers.values()]:
        assert looks[0].trials < 1.5 * WARM
        assert looks[-1].trials > TRIALS - 3 * EVERY


def test_memory_does_not_grow_with_trials(watched: Watched) -> None:
    for looks in [watched.driver, *watched.workers.values()]:
        before = median(look.private_kib for look in looks[:LOOKS])
        after = median(look.private_kib for look in looks[-LOOKS:])
        assert after < before * (1 + GROWTH), [look.private_kib for look in looks]


def test_neither_files_nor_threads_grow_with_trials(watched: Watched) -> None:
    """What leaks grows again and again; a connection that Ray opens late is one step."""
    for looks in [watched.driver, *watched.workers.values()]:
        for counts in ([look.files for look in looks], [look.threads for look in looks]):
            highest = list(accumulate(counts, max))
            steps = sum(before < after for before, after in pairwise(highest))
            assert steps <= STEPS, counts


def test_no_process_and_no_temporary_file_is_left(watched: Watched) -> None:
    until = time.monotonic() + GONE_SECONDS
    while (left := [p for p in watched.below if p.is_alive]) and time.monotonic() < until:
        time.sleep(0.2)
    assert left == []
    assert list(watched.command.folder.rglob("*.tmp")) == []
    # PyTorch's compiler has a folder of its own, one for all runs
    left_over = [path.name for path in watched.temporary.iterdir()]
    assert [name for name in left_over if not name.startswith("torchinductor_")] == []
