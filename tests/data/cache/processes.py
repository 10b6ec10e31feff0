"""Other processes that build, or hold, stores; their scripts have no main guard on purpose."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

BUILD = """
import sys
from pathlib import Path
from pcsearch.data.cache import ensure_store
from data.image_files import CountedImages
folder, size = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
store = ensure_store(CountedImages(folder / "log", size), 8, folder=folder / "cache", workers=2)
print(store.images.sum(), flush=True)
"""

HOLD = """
import sys
from pathlib import Path
from pcsearch.data.cache import open_store
store = open_store(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.readline()
print(store.images.sum(), flush=True)
"""

LOCK = """
import sys
from filelock import FileLock
lock = FileLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
sys.stdin.readline()
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    """A process that runs `script` and talks through pipes."""
    tests = Path(__file__).resolve().parents[2]
    path = os.pathsep.join([str(tests.parent), str(tests)])
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    """The next line that the process writes."""
    assert process.stdout is not None
    return process.stdout.readline().strip()
