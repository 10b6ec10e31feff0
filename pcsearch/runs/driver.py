"""The process that runs a campaign: what it says of itself, and how another process stops it.

A process number alone is no proof: systems use it again, containers count their own, and other
hosts have other processes. So `driver.json` also has the process's start, and only a process that
started then is signalled. On Linux it must also have the run's lock open.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcsearch.errors import UserError
from pcsearch.io import open_regular
from pcsearch.printable import printable

DRIVER_FILE = "driver.json"
LOCK_FILE = "driver.lock"
_PROC = Path("/proc")
_LOOK_SECONDS = 0.2


def is_locked(lock: Path) -> bool:
    """Whether a process holds the lock file of a run now."""
    try:
        file = open_regular(lock)
    except FileNotFoundError:
        return False
    except OSError:  # no permission
        return True
    with file:  # shared: readers must not write, nor take each other for a driver
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def this_process() -> dict[str, Any]:
    """What `driver.json` says of the process that holds the run's lock."""
    pid = os.getpid()
    return {
        "host": socket.gethostname(),
        "pid": pid,
        "user": os.geteuid(),
        "started": started(pid),
    }


def started(pid: int) -> str | None:
    """When a process started, so that another one with its number differs.

    Of Linux: the boot, the namespace of process numbers, and the clock ticks since the boot. None
    if there is no such process, or it has ended and only its parent has not noticed.
    """
    if not (_PROC / "self/stat").exists():
        return _started_by_ps(pid)
    try:
        # its name, in brackets, may hold blanks and brackets
        state, *fields = (_PROC / f"{pid}/stat").read_text().rpartition(") ")[2].split()
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        namespace = (_PROC / "self/ns/pid").stat().st_ino
    except OSError:
        return None
    return None if state in "ZX" else f"{boot} {namespace} {fields[18]}"


def _started_by_ps(pid: int) -> str | None:
    command = ["ps", "-o", "state=,lstart=", "-p", str(pid)]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    except OSError:
        return None
    return " ".join(found[1:]) if found and not found[0].startswith("Z") else None


@dataclass(frozen=True)
class Driver:
    """The process that `driver.json` names; unknown values are None."""

    host: str
    pid: int
    user: int | None = None
    started: str | None = None

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    @property
    def runs(self) -> bool:
        """Whether the process still runs; only known on its own host."""
        return self.started is not None and started(self.pid) == self.started

    def check_ours(self, lock: Path | None) -> None:
        """Check that it is the driver, on this host, of this user.

        Args:
            lock: The lock file of a run in a folder, which the driver has open. None for a store.

        Raises:
            UserError: it is not, or nothing proves it; says where to stop the campaign.
        """
        there = "stop it there: Ctrl-C in its terminal, or `pcsearch stop` on that machine"
        if self.host != socket.gethostname():
            raise UserError(f"the campaign runs as {self}; {there}")
        if self.user != os.geteuid():
            whose = "another user" if self.user is None else f"the user {_name(self.user)}"
            raise UserError(
                f"the campaign runs as {self}, started by {whose}; only that user can stop it"
            )
        if not self.runs or (lock is not None and not _has_open(self.pid, lock)):
            raise UserError(
                f"a process runs the campaign, but driver.json names {self}, which is not that "
                f"process; {there}"
            )

    def interrupt(self, lock: Path | None) -> None:
        """Send Ctrl-C's signal, if it is certain that the process is the driver.

        Raises:
            UserError: as `check_ours`.
        """
        descriptor = -1
        if hasattr(os, "pidfd_open"):  # then the process is still the same after the check
            with contextlib.suppress(OSError):
                descriptor = os.pidfd_open(self.pid)
        try:
            self.check_ours(lock)
            with contextlib.suppress(ProcessLookupError):
                if descriptor >= 0:
                    signal.pidfd_send_signal(descriptor, signal.SIGINT)
                else:
                    os.kill(self.pid, signal.SIGINT)
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def wait(self, seconds: float) -> bool:
        """Wait until the process has ended, at most so many seconds; whether it has."""
        until = time.monotonic() + seconds
        while self.runs and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
        return not self.runs


def parse_driver(text: str | None) -> Driver | None:
    """The content of `driver.json`; None if it names no process. Anybody may have written it."""
    try:
        told = json.loads(text or "")
        host, pid, user, since = (told.get(key) for key in ("host", "pid", "user", "started"))
    except (ValueError, AttributeError, RecursionError):
        return None
    if not isinstance(host, str) or type(pid) is not int or pid <= 0:
        return None
    return Driver(
        printable(host),
        pid,
        user if type(user) is int and user >= 0 else None,
        since if isinstance(since, str) else None,
    )


def _has_open(pid: int, file: Path) -> bool:
    """Whether a process of this user has a file open; True where the system cannot say."""
    descriptors = _PROC / str(pid) / "fd"
    if not (_PROC / "self/fd").exists():
        return True
    try:
        wanted = file.stat()
        for one in descriptors.iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                if os.path.samestat(one.stat(), wanted):
                    return True
    except OSError:
        return False
    return False


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
