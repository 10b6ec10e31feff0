"""A small disk of its own for the runs, that can be filled up."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SIZE = "192m"  # a campaign does not begin with less than 100 MiB free
BLOCK = bytes(2**20)

FULL = "disk full"
BRIEFLY = "disk full for a moment"
HOW = "a tmpfs filled up by a file"


def why_not() -> str | None:
    """Why disks cannot be mounted here; None where they can."""
    return None if os.geteuid() == 0 and Path("/bin/mount").exists() else "needs root, and mount"


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mount a small tmpfs on a folder, which is made.

    Raises:
        OSError: that is not allowed here.
    """
    folder.mkdir(parents=True)
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)], capture_output=True
    )
    if mounting.returncode:
        raise OSError(mounting.stderr.decode().strip())
    try:
        yield
    finally:
        # a worker that has not noticed its driver's end may still hold a file there: lazily
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Fill the disk to its last byte."""
    with suppress(OSError), (folder / "filler").open("ab", buffering=0) as file:
        while True:
            file.write(BLOCK)
    with suppress(OSError), (folder / "filler").open("ab", buffering=0) as file:
        while True:
            file.write(b"0")


def free(folder: Path) -> None:
    (folder / "filler").unlink(missing_ok=True)


def fill_for(folder: Path, seconds: float) -> None:
    fill(folder)
    time.sleep(seconds)
    free(folder)
