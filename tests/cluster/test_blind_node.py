"""A node that cannot use the run's folder ends the campaign at once, with one message."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.heads import Head, descendants, join, running_head
from tests.cluster.test_jobs import SMALL
from tests.e2e.cli import read_journal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TUNE = [sys.executable, "-m", "pcsearch", "tune", *SMALL, "--plain", "--name=run"]


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with running_head("--num-cpus=0", RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0") as started:
        yield started


@pytest.mark.parametrize(
    ("mount", "message"),
    [
        ("mount -t tmpfs none {runs}", "does not see the run folder"),
        (
            "mount --bind {runs} {runs} && mount -o remount,bind,ro {runs}",
            "cannot write into the run folder",
        ),
    ],
    ids=["another folder", "read only"],
)
def test_it_is_said_once_and_nothing_is_trained(
    head: Head, mount: str, message: str, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    alone = ["unshare", "--mount", "--propagation", "private", "sh", "-ec"]
    if subprocess.run([*alone, mount.format(runs=runs)], check=False).returncode:
        pytest.skip("a mount of its own needs root")
    node = join(head, *alone, f'{mount.format(runs=runs)}; exec "$@"', "sh")
    try:
        done = subprocess.run(
            [*TUNE, "--address", head.address, "--runs", str(runs)],
            env=dict(head.environment),
            capture_output=True,
            text=True,
            timeout=180,
        )
    finally:
        for pid in descendants(node.pid):
            os.kill(pid, signal.SIGKILL)
        node.communicate()
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert "--runs" in done.stderr
    assert "when that is mended, go on with: pcsearch resume " in done.stderr
    assert f"--address {head.address}" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    kinds = [event["event"] for event in read_journal(runs / "run" / "journal.jsonl")]
    assert kinds == ["campaign", "asked", "ended"]  # nothing failed: it may go on when mended
