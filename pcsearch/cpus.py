"""The CPUs that this process may use, which may be fewer than the machine has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def machine_cpus() -> int:
    """The CPUs of the machine."""
    return os.cpu_count() or 1


def usable_cpus() -> int:
    """The CPUs of this process: its affinity, and at most its quota, but at least 1.

    taskset, Slurm and cpusets set the affinity. Containers and job managers set a quota of CPU time
    with cgroups; a part of a CPU does not count, as in Ray.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else machine_cpus()
    return max(1, int(min([allowed, *quotas()])))


def quotas(system: Path = Path("/")) -> Iterator[float]:
    """The CPU quota of each cgroup that this process is in, in CPUs; a group has its parents' too.

    Args:
        system: The root of the file system.
    """
    groups = ""
    with suppress(OSError):
        groups = (system / "proc/self/cgroup").read_text()
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounted = system / "sys/fs/cgroup" / controllers
        group = mounted / path.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(mounted):
                yield from _quota(folder)


def _quota(group: Path) -> Iterator[float]:
    """The quota of version 2 (`cpu.max`) or 1; "max" and -1 mean none, a missing file too."""
    for files in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        with suppress(OSError, ValueError):
            quota, period = " ".join((group / file).read_text() for file in files).split()
            if float(quota) > 0:
                yield float(quota) / float(period)
