"""Watch Ray's processes on this machine, and keep their output off the terminal."""

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
    """Silence warnings that do not help a user. Call in the main thread, before Ray starts.

    Ray imports `requests` in a thread, and `requests` silences this warning itself. That is lost if
    another thread leaves a `warnings.catch_warnings` at that time.
    """
    warnings.filterwarnings("ignore", message="SOCKS support in urllib3")


@contextlib.contextmanager
def stderr_to_file(path: Path) -> Iterator[None]:
    """Append the output of file descriptor 2 to a file; restore it afterwards.

    Ray's native code writes there directly ("a worker died"), which would break a live view.
    Redirecting `sys.stderr` does not catch it. Ray's own prints to standard output (the raylet's
    messages on dead workers) go to the file, too.
    """
    sys.stderr.flush()
    log, kept = open_to_append(path), os.dup(2)
    try:
        os.dup2(log, 2)
        with ray_internals.errors_on_stderr():
            yield
    finally:
        with contextlib.suppress(OSError):  # a full disk; its own error message must get through
            sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(log)


_LOOK_SECONDS = 0.5


@contextlib.contextmanager
def lifeline(lost: Callable[[str], None]) -> Iterator[None]:
    """Watch the processes of the Ray that this process has started, if any.

    Without them, Ray's functions block for up to a minute. Then Ray ends this process, and prints
    its logs to the terminal.

    Args:
        lost: Called once, in a thread, with the name of the first process that has ended.
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
