"""Which process runs a campaign, and that no other one is ever signalled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pcsearch.errors import UserError
from pcsearch.runs.driver import Driver, parse_driver, started, this_process
from pcsearch.runs.folder import RunFolder, new_run

PACKAGE = Path(__file__).parents[2]
HOLDS = """
import sys, time
from pathlib import Path
from pcsearch.runs.folder import RunFolder, held
with held(RunFolder(Path(sys.argv[1]))):
    try:
        print("held", flush=True)
        time.sleep(600)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    with new_run(tmp_path, "run", "name: demo\n", {}) as folder:
        return folder


@pytest.fixture
def holder(run: RunFolder) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the run's lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(run.path)],
        env=os.environ | {"PYTHONPATH": str(PACKAGE)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def driver(run: RunFolder) -> Driver:
    found = run.driver()
    assert found is not None
    return found


def test_the_holder_of_the_lock_is_interrupted_and_waited_for(
    run: RunFolder, holder: subprocess.Popen[str]
) -> None:
    found = driver(run)
    assert found.pid == holder.pid
    assert found.runs
    assert run.is_held()
    found.interrupt(run.lock)
    assert found.wait(60), "a process that has ended counts, though its parent has not noticed"
    assert not run.is_held()
    assert holder.communicate()[0] == "interrupted\n"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"host": "elsewhere"}, r"on elsewhere; stop it there"),
        ({"user": os.geteuid() + 1}, r"only that user can stop it"),
        ({"user": None}, r"started by another user"),
        ({"started": "another boot 1 2"}, r"is not that process"),
        ({"started": None}, r"is not that process"),
        ({"pid": 2**22 + 5}, r"is not that process"),
    ],
)
def test_a_process_that_is_not_certainly_the_driver_is_never_signalled(
    run: RunFolder,
    holder: subprocess.Popen[str],
    changes: dict[str, object],
    message: str,
) -> None:
    wrong = replace(driver(run), **changes)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=message):
        wrong.interrupt(run.lock)
    assert holder.poll() is None


def test_a_process_without_the_lock_is_never_signalled(
    run: RunFolder, holder: subprocess.Popen[str]
) -> None:
    with subprocess.Popen(["sleep", "600"]) as other:
        forged = replace(driver(run), pid=other.pid, started=started(other.pid))
        assert forged.runs
        with pytest.raises(UserError, match="is not that process"):
            forged.interrupt(run.lock)
        assert other.poll() is None
        forged.interrupt(None)  # a store has no lock file; there, the start is the proof
        assert other.wait(60) == -signal.SIGINT
    assert holder.poll() is None


def test_a_start_tells_processes_apart_and_ends_with_them() -> None:
    own = this_process()
    assert own["started"] == started(os.getpid())
    with subprocess.Popen(["sleep", "600"]) as other:
        assert started(other.pid) not in (None, own["started"])
        other.kill()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # a zombie now
        assert started(other.pid) is None
    assert started(other.pid) is None


@pytest.mark.parametrize(
    "text",
    [None, "", "[]", "{}", '{"host": 1, "pid": 2}', '{"host": "a", "pid": "2"}',
     '{"host": "a", "pid": 0}', '{"host": "a", "pid": -1}', '{"host": "a", "pid": true}',
     "[" * 10_000],
)  # fmt: skip
def test_a_file_that_names_no_process(text: str | None) -> None:
    assert parse_driver(text) is None


def test_a_file_of_an_earlier_version_proves_nothing() -> None:
    found = parse_driver(json.dumps({"host": this_process()["host"], "pid": os.getpid()}))
    assert found is not None
    assert not found.runs
    with pytest.raises(UserError, match="another user"):
        found.interrupt(None)
