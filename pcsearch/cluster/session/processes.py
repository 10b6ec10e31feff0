"""Ray's processes on this machine: watched, and kept from writing to the terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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
        with _told_on_stderr():
            yield
    finally:
        with contextlib.suppress(OSError):  # a full disk; what is said of that must get through
            sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(log)


@contextlib.contextmanager
def _told_on_stderr() -> Iterator[None]:
    """Errors that Ray's daemons tell the driver, and Ray prints, go to standard error.

    `log_to_driver=False` leaves them on standard output. Where another version of Ray has no such
    function, nothing changes.
    """
    worker = sys.modules.get("ray._private.worker")
    before = getattr(worker, "print_to_stdstream", None)
    if worker is None or before is None:
        yield
        return

    def tell(data: dict[str, Any], ignore_prefix: bool = False) -> None:
        with contextlib.suppress(OSError):
            os.write(2, ("\n".join(map(str, data["lines"])) + "\n").encode())

    worker.print_to_stdstream = tell  # type: ignore[attr-defined]
    try:
        yield
    finally:
        worker.print_to_stdstream = before  # type: ignore[attr-defined]


_LOOK_SECONDS = 0.5


@contextlib.contextmanager
def lifeline(lost: Callable[[str], None]) -> Iterator[None]:
    """Watch the processes of the Ray that this process has started, if it has.

    Ray itself waits for up to a minute for them to come back, with whatever its functions were
    called for, and then ends the process with its logs in the terminal.

    Args:
        lost: Called in a thread, once, with the name of the first process that has ended.
    """
    watched = _processes()
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


def _processes() -> dict[str, Any]:
    """Name to `subprocess.Popen` of what Ray needs; nothing where Ray was started elsewhere."""
    from ray._private import worker

    node = worker._global_node
    started = getattr(node, "all_processes", None) or {}
    needed = {"raylet": "raylet", "gcs_server": "GCS"}
    return {
        shown: started[name][0].process
        for name, shown in needed.items()
        if started.get(name) and hasattr(started[name][0].process, "poll")
    }
