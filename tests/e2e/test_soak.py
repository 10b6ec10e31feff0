"""Each kind of fault once: the short form of benchmarks/soak.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.cli import PACKAGE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

FAULTS = 20


def test_campaigns_survive_each_kind_of_fault(tmp_path: Path) -> None:
    """Where one is not survived, the output says which, and the folder it was in is kept."""
    report = tmp_path / "soak.json"
    soak = subprocess.run(
        [
            *(sys.executable, str(PACKAGE / "benchmarks" / "soak.py"), "--only=brief", "--seed=3"),
            *(f"--faults={FAULTS}", "--minutes=10", f"--json={report}"),
        ],
        cwd=PACKAGE,
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert soak.returncode == 0, soak.stdout
    told = json.loads(report.read_text())
    assert told["untried"] == []
    assert len(told["faults"]) >= FAULTS
    assert [fault for fault in told["faults"] if fault["wrong"]] == []
