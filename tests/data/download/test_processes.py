"""Several processes, and processes that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pcsearch.data.download import get_dataset
from tests.data.download.server import Habits, Server
from tests.data.download.small_cub import (
    QUICK,
    Recorded,
    check_whole,
    entry,
    part_of,
    tgz,
    tree,
)

PACKAGE = Path(__file__).resolve().parents[3]
HALF = 150_000

DOWNLOAD = """
import sys
from pathlib import Path
sys.path.insert(0, {package!r})
from pcsearch.data.download import get_dataset
from tests.data.download.small_cub import QUICK, Recorded, entry

class Told(Recorded):
    def moved(self, *what): print(*what, flush=True)
    def noted(self, line): print("note", line, flush=True)

print(get_dataset(entry({url!r}), Path({root!r}), Told(), patience=QUICK).state)
"""


def start(url: str, root: Path) -> subprocess.Popen[str]:
    code = DOWNLOAD.format(package=str(PACKAGE), url=url, root=str(root))
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_process_leaves_what_it_fetched(
    how: signal.Signals, server: Server, tmp_path: Path
) -> None:
    url = server.serve("/a.tgz", Habits(tgz(), seconds_per_chunk=0.005))
    process = start(url, tmp_path)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("downloading") and int(line.split()[2]) >= HALF // 2:
            os.kill(process.pid, how)
            break
    process.communicate()
    assert process.returncode != 0
    have = part_of(tmp_path).stat().st_size
    assert HALF // 2 <= have < len(tgz())
    assert part_of(tmp_path).read_bytes() == tgz()[:have]
    server.log.clear()
    server.serve("/a.tgz", Habits(tgz()))
    get_dataset(entry(url), tmp_path, Recorded(), patience=QUICK)
    check_whole(tmp_path)
    assert server.ranges("/a.tgz") == [f"bytes={have}-"]
    assert server.sent("/a.tgz") == [len(tgz()) - have]


def test_two_processes_at_once_download_once(server: Server, tmp_path: Path) -> None:
    url = server.serve("/a.tgz", Habits(tgz(), seconds_per_chunk=0.002))
    both = [start(url, tmp_path) for _ in range(2)]
    outputs = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(output.splitlines()[-1] for output in outputs) == ["fetched", "here already"]
    assert server.sent("/a.tgz") == [len(tgz())]
    check_whole(tmp_path)


@pytest.mark.slow
def test_killed_at_any_moment_and_started_again(server: Server, tmp_path: Path) -> None:
    """At whichever line of progress a process is killed, the next one finishes what it left."""
    url = server.serve("/a.tgz", Habits(tgz()))
    lines = start(url, tmp_path / "whole").communicate()[0].splitlines()
    for at in (1, len(lines) // 2, len(lines) - 3, len(lines) - 2):
        root = tmp_path / str(at)
        process = start(url, root)
        assert process.stdout is not None
        for _ in range(at):
            process.stdout.readline()
        process.kill()
        process.communicate()
        if (root / "CUB_200_2011").exists():
            check_whole(root, *(name for name in tree(root) if name.startswith(".pcsearch")))
        get_dataset(entry(url), root, Recorded(), patience=QUICK)
        files = {name for name in tree(root) if not name.startswith(".pcsearch")}
        assert files == tree(tmp_path / "whole")


def test_threads_of_one_process_take_turns_too(server: Server, tmp_path: Path) -> None:
    one = entry(server.serve("/a.tgz", Habits(tgz(), seconds_per_chunk=0.001)))
    states: list[str] = []

    def run() -> None:
        states.append(get_dataset(one, tmp_path, Recorded(), patience=QUICK).state)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(states) == ["fetched", "here already"]
