"""Ray's processes on this machine: watched, and kept from writing to the terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from pcsearch.cluster import ray_internals
from pcsearch.io import open_to_append


def ignore_known_warnings() -> None:
    """Leave out what says nothing to a user, for good; in the main thread, before Ray starts.

    `requests`, which Ray imports in a thread, has this one ignored itself, but that is lost where
    another thread leaves a `warnings.catch_warnings` meanwhile.
    """
    warnings.filterwarnings("ignore", message="SOCKS support in urllib3")


@contextlib.contextmanager
def stderr_to_file(path: Path) -> Iterator[None]:
    """Send file descriptor 2 of this process to the end of a file, and back afterwards.

    Ray's native code writes there below Python ("a worker died"), which would tear a live view;
    redirecting `sys.stderr` alone does not catch it. What Ray prints of its own accord on standard
    output (what the raylet says of dead workers) goes to the file as well.
    """
    sys.stderr.flush()
    log, kept = open_to_append(path), os.dup(2)
    try:
        os.dup2(log, 2)
        with ray_internals.errors_on_stderr():
            yield
    finally:
        with contextlib.suppress(OSError):  # a full disk; what is said of that must get through
            sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(log)


_LOOK_SECONDS = 0.5


@contextlib.contextmanager
def lifeline(lost: Callable[[str], None]) -> Iterator[None]:
    """Watch the processes of the Ray that this process has started, if it has.

    Ray itself waits for up to a minute for them to come back, with whatever its functions were
    called for, and then ends the process with its logs in the terminal.

    Args:
        lost: Called in a thread, once, with the name of the first process that has ended.
    """
    watched = ray_internals.started_processes()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_LOOK_SECONDS):
            for name, process in watched.items():
                if process.poll() is not None and not over.is_set():
                    lost(name)
                    return

    thread = threading.Thread(target=watch, name="ray-lifeline", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
