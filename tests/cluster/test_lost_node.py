"""A node is lost while it trains: its trials go on elsewhere and it costs them no retry."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.heads import Head, descendants, join, running_head
from tests.e2e.cli import epoch_events, overrides, read_journal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ARGUMENTS = (
    "quickstart",
    "datasets=[digits]",
    "data.classes=[1, 7, 8, 9]",
    *overrides(
        search={"trials": 2, "control": "none"},
        asha={"max_epochs": 60, "grace_epochs": 30},
        finalists={"configs": 0, "repeats": 0},
        confirm={"seeds": 1, "epochs": 2},
    ),
)


@pytest.fixture
def head() -> Iterator[Head]:
    quick = {"RAY_health_check_period_ms": "500", "RAY_health_check_failure_threshold": "4"}
    loopback = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    with running_head("--num-cpus=0", **quick, **loopback) as started:
        yield started


def until(met: Callable[[], Any], seconds: float = 90) -> Any:
    end = time.monotonic() + seconds
    while not (found := met()):
        assert time.monotonic() < end, "not in time"
        time.sleep(0.1)
    return found


def test_its_trial_goes_on_on_another_node(head: Head, tmp_path: Path) -> None:
    first = join(head)
    command = [sys.executable, "-m", "pcsearch", "tune", *ARGUMENTS, "--plain", "--name=run"]
    command += ["--address", head.address, "--runs", str(tmp_path)]
    journal = tmp_path / "run" / "journal.jsonl"
    with subprocess.Popen(command, env=dict(head.environment), stdout=subprocess.PIPE) as process:
        until(lambda: len(epoch_events(read_journal(journal))) >= 3)
        second = join(head)
        for pid in descendants(first.pid):  # all that the machine ran is gone at once
            os.kill(pid, signal.SIGKILL)
        out, _ = process.communicate(timeout=200)
    for pid in descendants(second.pid):
        os.kill(pid, signal.SIGKILL)
    for node in (first, second):
        node.communicate()
    assert process.returncode == 0, out.decode()
    events = read_journal(journal)
    (retried,) = [event for event in events if event["event"] == "retried"]
    assert retried["kind"] == "node"
    assert retried["reason"] in ("its node was lost", "the connection to its worker broke")
    assert not [event for event in events if event["event"] == "failed"]
    epochs = [(e["trial"], e["epoch"]) for e in epoch_events(events)]
    assert len(epochs) == len(set(epochs))
    assert all(event["same"] for event in events if event["event"] == "repeated")
