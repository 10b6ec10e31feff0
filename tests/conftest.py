"""What holds for all tests."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # as a shell has it for what runs in the background; commands under test would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


LONGEST = ("s3", "resume", "faults", "jobs", "leaks", "real", "elastic", "launch")
"""Slow files that take minutes. Begun first: else one of them runs alone in the end."""

SHARED = {"finished", "interrupted"}
"""Campaigns that several files look at."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests of a file, and all that look at one campaign, are run by one process."""
    order = {f"test_{name}.py": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))
    for item in items:
        if item.get_closest_marker("slow"):
            shared = SHARED & {*getattr(item, "fixturenames", ())}
            group = "campaigns" if shared else item.path.name
            item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture
def disk_of(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Makes file systems of their own of a size such as `20m`, to be filled up for real."""
    mounted: list[Path] = []

    def mount(size: str) -> Path:
        folder = tmp_path / f"disk-{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("no mount command: a small disk cannot be made")
        if done.returncode:
            pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)
