"""What holds for all tests."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("no deadline", deadline=None)  # other processes may have the processor
settings.load_profile("no deadline")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # as a shell has it for what runs in the background; commands under test would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # as nohup has it
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


LONGEST = (
    *("jobs", "leaks", "elastic", "node_views", "resume", "s3", "address", "hostile", "real"),
    *("faults", "launch", "session", "own_images", "ctrl_c", "out_of_stock"),
)
"""Slow files that take minutes. Begun first: else one of them runs alone in the end."""

SHARING = {
    f"tests/e2e/test_{name}.py"
    for name in (
        "faults",
        "machine_readable",
        "run_folder",
        "bad_input",
        "take_away",
        "predictions",
    )
}
"""Files that look at the campaigns of e2e/conftest.py: run by one process, these run once."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {f"test_{name}.py": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile`: the tests of a file are run by one process, and those that share."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class BySharing(LoadFileScheduling):  # by --dist loadgroup, were it not for pytest 9.2
        def _split_scope(self, nodeid: str) -> str:
            file: str = super()._split_scope(nodeid)
            return "sharing" if file in SHARING else file

    return BySharing(config, log)


@pytest.fixture(scope="session", autouse=True)
def image_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Opening a person's own images leaves thumbnails: not in the cache of whoever tests.

    Nor do the tester's folders of data and runs count.
    """
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("image-cache")
        patch.setenv("PCSEARCH_CACHE", str(folder))
        patch.delenv("PCSEARCH_DATA", raising=False)
        patch.delenv("PCSEARCH_RUNS", raising=False)
        yield folder


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
