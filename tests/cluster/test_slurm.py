"""`clusters/slurm.sh` with a Slurm of one machine: Ray, the campaign, the limit, the next job."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cluster.heads import clean_environment, end_all, free_port
from tests.e2e.cli import PACKAGE, epoch_events, read_journal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SCRIPT = PACKAGE / "clusters" / "slurm.sh"
SCONTROL = """#!/bin/bash
echo "scontrol $*" >> "$CALLS"
if [[ $1 == show ]]; then echo "$3" | tr , '\\n'; fi
"""
SRUN = """#!/bin/bash
echo "srun $*" >> "$CALLS"
exec sleep 600
"""
RECIPE = (
    "quickstart", "datasets=[digits]", "data.classes=[3, 5, 8]", "search.trials=4",
    "asha.max_epochs=30", "finalists.configs=0", "finalists.repeats=0", "confirm.seeds=2",
)  # fmt: skip


class Slurm:
    """Starts the script as Slurm would, with its variables; commands are written to a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.job = free_port() - 20000  # so that the script's port is free
        while not 0 <= self.job < 20000:
            self.job = free_port() - 20000
        bin_folder = folder / "bin"
        bin_folder.mkdir()
        for name, text in (("scontrol", SCONTROL), ("srun", SRUN)):
            (bin_folder / name).write_text(text)
            (bin_folder / name).chmod(0o755)
        interpreter = f"#!/bin/bash\nexec {sys.executable} -m "
        for name, module in (("pcsearch", "pcsearch"), ("ray", "ray.scripts.scripts")):
            (bin_folder / name).write_text(f'{interpreter}{module} "$@"\n')
            (bin_folder / name).chmod(0o755)
        self.bin = bin_folder
        self.run = folder / "runs" / f"slurm-{self.job}"

    def start(
        self, *arguments: str, nodes: str = "one", seconds: int = 3600
    ) -> subprocess.Popen[bytes]:
        environment = clean_environment() | {
            "PATH": f"{self.bin}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(PACKAGE),
            "PCSEARCH_CACHE": str(self.folder / "cache"),
            "PCSEARCH_HEAD_IP": "127.0.0.1",
            "CALLS": str(self.folder / "calls"),
            "SLURM_JOB_ID": str(self.job),
            "SLURM_JOB_NODELIST": nodes,
            "SLURM_CPUS_PER_TASK": "2",
            "SLURM_JOB_END_TIME": str(int(time.time()) + seconds),
        }
        with (self.folder / "out").open("ab") as out:
            return subprocess.Popen(
                ["bash", str(SCRIPT), *arguments],
                cwd=self.folder, env=environment, stdout=out, stderr=out,
            )  # fmt: skip

    def calls(self) -> list[str]:
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def out(self) -> str:
        return (self.folder / "out").read_text()


@pytest.fixture
def slurm(tmp_path: Path):  # type: ignore[no-untyped-def]
    one = Slurm(tmp_path)
    yield one
    end_all(f"/tmp/pcs-{one.job}")


def test_a_job_that_meets_its_limit_is_requeued_and_resumes(slurm: Slurm) -> None:
    with slurm.start(*RECIPE, nodes="one,two,three") as process:
        journal = slurm.run / "journal.jsonl"
        until = time.monotonic() + 120
        while not (journal.exists() and epoch_events(read_journal(journal))):
            assert process.poll() is None, slurm.out()
            assert time.monotonic() < until, slurm.out()
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=90) == 143, slurm.out()
    events = read_journal(journal)
    assert events[-1]["status"] == "interrupted"
    assert 0.5 * 3600 < events[0]["plan"]["budget_seconds"] < 3600  # the job's hour, less a margin
    assert f"scontrol requeue {slurm.job}" in slurm.calls()
    (joined,) = (call for call in slurm.calls() if call.startswith("srun"))
    assert "--nodes=2 --ntasks=2 --exclude=one ray start" in joined
    assert not list((slurm.folder / "runs").glob(".slurm-*"))  # the token is gone

    with slurm.start(*RECIPE) as process:
        assert process.wait(timeout=200) == 0, slurm.out()
    events = read_journal(journal)
    assert events[-1]["status"] == "complete"
    assert sum(event["event"] == "campaign" for event in events) == 1
    assert len([call for call in slurm.calls() if "requeue" in call]) == 1
