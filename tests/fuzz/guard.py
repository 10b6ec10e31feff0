"""What a case of hostile input may not do: hang, start a process, run code, write elsewhere.

An audit hook sees what the interpreter is about to do and raises instead; a timer ends what takes
too long. Both raise what no `except Exception` catches. For a process of its own, as a hook stays.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

MEMORY_BYTES = 2**30
"""What the cases of a process may take beyond what it has."""

SECONDS = 5.0
"""Longest that a case may take: of processor time, or of waiting for what does not come."""

_ASLEEP = 0.01
"""A process that had less than this share of a processor waits. One beside others has more."""

UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u115f\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
"""What commands a terminal, or hides or reverses what stands beside it."""

_RUNS = {
    "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile", "os.fork", "os.forkpty",
    "pty.spawn", "subprocess.Popen", "pickle.find_class", "ctypes.dlopen", "socket.connect",
    "socket.bind", "urllib.Request", "os.kill", "os.putenv", "os.chdir",
}  # fmt: skip
_CHANGES = {
    "os.remove": 1, "os.rmdir": 1, "os.mkdir": 1, "os.chmod": 1, "os.chown": 1, "os.truncate": 1,
    "os.utime": 1, "os.setxattr": 1, "os.rename": 2, "os.link": 2, "os.symlink": 2,
}  # fmt: skip
"""Events that change a file system → how many of their first arguments name what is changed."""

_OWN_VARIABLES = (b"AWS_EC2_METADATA_DISABLED",)
"""Set while a cluster file is checked, so that nobody asks the network."""

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Escape(BaseException):
    """Something was about to happen that must not."""


class Hang(BaseException):
    """A case took too long."""


class Guard:
    """From `install` on; `folder` is the only one that may be changed, during a case."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.begun = self.looked = 0.0  # seconds of processor time
        self.found: list[str] = []

    def install(self) -> None:
        sys.dont_write_bytecode = True
        signal.signal(signal.SIGALRM, self._too_long)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        sys.addaudithook(self._hook)

    @contextmanager
    def case(self, folder: Path) -> Iterator[None]:
        """Guard what is done in the block; Escape or Hang when it is not as it must be."""
        self.found.clear()
        self.folder = folder.resolve()
        self.begun = self.looked = time.process_time()
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self.folder = None
        if self.found:  # somebody caught what the hook raised
            raise Escape(self.found[0])

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.folder is None:
            return
        if event in ("os.putenv", "os.unsetenv") and arguments[0] in _OWN_VARIABLES:
            return
        if event in _RUNS:
            self._refuse(f"{event}{arguments!r:.200}")
        elif event == "open" and arguments[2] & _WRITES:
            self._check(event, arguments[0], followed=not arguments[2] & os.O_NOFOLLOW)
        elif event in _CHANGES:
            for path in arguments[: _CHANGES[event]]:
                self._check(event, path, followed=event in ("os.chmod", "os.utime", "os.truncate"))

    def _check(self, event: str, path: object, *, followed: bool) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return  # a descriptor, whose file was looked at when it was opened
        named = os.fsdecode(path)
        parent = os.path.realpath(os.path.dirname(os.path.abspath(named)))  # noqa: PTH100, PTH120
        real = os.path.realpath(named) if followed else os.path.join(parent, "x")  # noqa: PTH118
        if not Path(real).is_relative_to(self.folder or Path("/nowhere")) and real != "/dev/null":
            self._refuse(f"{event} of {named}")

    def _refuse(self, what: str) -> None:
        self.found.append(what)
        raise Escape(what)

    def _too_long(self, number: int, frame: FrameType | None) -> None:
        now = time.process_time()
        if now - self.begun >= SECONDS or now - self.looked < _ASLEEP * SECONDS:
            raise Hang(f"no end after {SECONDS:g} s")
        self.looked = now  # other processes had the processor
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
