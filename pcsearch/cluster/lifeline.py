"""Ray's own processes on this machine: a campaign cannot outlive them, and says so at once."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

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
