"""`pcsearch tune` as a process, on Ray: its lines, its table and its exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TINY = (
    "tune", "quickstart", "datasets=[digits]", "search.trials=2", "asha.max_epochs=2",
    "confirm={seeds: 2, epochs: 1}", "resources.max_concurrent=2", "--name", "tiny",
)  # fmt: skip


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pcsearch", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "PCSEARCH_CACHE": str(cwd / "cache"),
            "OMP_NUM_THREADS": "1",
        },
    )


def summary(cwd: Path) -> dict[str, object]:
    process = start("summary", "tiny", "--json", cwd=cwd)
    content: dict[str, object] = json.loads(process.communicate()[0])
    return content


def test_done_exits_0_with_the_table(tmp_path: Path) -> None:
    process = start(*TINY, cwd=tmp_path)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "\x1b" not in out
    assert "campaign complete" in out
    assert "gain" in out.split("campaign complete")[1]
    assert summary(tmp_path)["status"] == "complete"


def test_failed_studies_exit_1(tmp_path: Path) -> None:
    process = start(*TINY, "search.lr=1.0e+30", cwd=tmp_path)
    out, err = process.communicate()
    assert process.returncode == 1, err
    assert "campaign failed" in out
    assert "given up" in out
    assert "Traceback" not in err
    assert summary(tmp_path)["status"] == "failed"


def test_ctrl_c_exits_130_and_says_how_to_go_on(tmp_path: Path) -> None:
    process = start(*TINY, "search.trials=500", cwd=tmp_path)
    assert process.stdout is not None
    for line in process.stdout:
        if "validation" in line:
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130, err
    assert f"interrupted; go on with: pcsearch resume {Path('runs/tiny')}" in out
    assert "Traceback" not in err
    assert summary(tmp_path)["status"] == "interrupted"
