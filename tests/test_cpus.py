"""The CPUs of a process that may not use all of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pcsearch.cpus import quotas, usable_cpus


def system(folder: Path, groups: str, files: dict[str, str]) -> Path:
    for path, content in {"proc/self/cgroup": groups, **files}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)
    return folder


@pytest.mark.parametrize(
    ("groups", "files", "wanted"),
    [
        ("", {}, []),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "max 100000\n"}, []),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "150000 100000\n"}, [1.5]),
        (  # Slurm and systemd: the job's limit is on a group above the process's own
            "0::/system.slice/job_7/step_0\n",
            {
                "sys/fs/cgroup/system.slice/job_7/step_0/cpu.max": "max 100000\n",
                "sys/fs/cgroup/system.slice/job_7/cpu.max": "400000 100000\n",
            },
            [4.0],
        ),
        (  # a container that sees the outer path, but its own files
            "0::/docker/0123\n",
            {"sys/fs/cgroup/cpu.max": "50000 100000\n"},
            [0.5],
        ),
        (
            "4:memory:/a\n2:cpu,cpuacct:/a\n0::/\n",
            {
                "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/memory/a/cpu.max": "100000 100000\n",
            },
            [3.0],
        ),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "strange\n"}, []),
    ],
)
def test_quotas_of_the_process_and_of_the_groups_above(
    groups: str, files: dict[str, str], wanted: list[float], tmp_path: Path
) -> None:
    assert list(quotas(system(tmp_path, groups, files))) == wanted


@pytest.mark.parametrize(("found", "wanted"), [([], 2), ([1.5], 1), ([0.5, 64.0], 1), ([64.0], 2)])
def test_the_smaller_of_affinity_and_quota_counts(
    found: list[float], wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pcsearch.cpus.quotas", lambda: iter(found))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5}, raising=False)
    assert usable_cpus() == wanted


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_affinity_counts() -> None:
    cpu = min(os.sched_getaffinity(0))
    done = subprocess.run(
        [sys.executable, "-c", "from pcsearch.cpus import usable_cpus; print(usable_cpus())"],
        preexec_fn=lambda: os.sched_setaffinity(0, {cpu}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "1\n"
