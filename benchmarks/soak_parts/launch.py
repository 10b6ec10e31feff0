"""One driver process, watched by what it writes into its journal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.cli import PACKAGE, Process, descendants

Event = dict[str, Any]
POLL_SECONDS = 0.004
CLOCK = Path(__file__).with_name("clock")
CLOCK_MARKER = "clock-set-back"
NOT_PASSED = ("RAY_", "PYTHONUNBUFFERED")
"""Beginnings of environment variables: buffers that cannot be written out are part of the test."""


class HungError(Exception):
    """Something took longer than it ever should."""


@dataclass
class Tail:
    """The whole lines of a journal that grows; what follows the last one is not an event yet."""

    path: Path
    offset: int = 0

    def read(self) -> list[Event]:
        """Events since the last call."""
        try:
            if self.path.stat().st_size <= self.offset:
                return []
            with self.path.open("rb") as file:
                file.seek(self.offset)
                whole = file.read().rpartition(b"\n")[0]
        except OSError:
            return []
        if not whole:
            return []
        self.offset += len(whole) + 1
        return [json.loads(line) for line in whole.splitlines()]


class Launch:
    """`python -m pcsearch ...` in a folder, its output in a file.

    Attributes:
        before: Events that the journal held at its start.
        events: Events that it has held since.
        tmp: Its folder for temporary files.
        clock_marker: While it is there, its clock is an hour behind.
        end_code: Exit code, negative for a signal; None while it runs.
    """

    def __init__(self, folder: Path, arguments: Sequence[str], journal: Path, tmp: Path) -> None:
        self._tail = Tail(journal)
        self.before = self._tail.read()
        self.events: list[Event] = []
        self._output = folder / "output.txt"
        self.tmp, self.clock_marker = tmp, folder / CLOCK_MARKER
        environment = {key: os.environ[key] for key in os.environ if not key.startswith(NOT_PASSED)}
        environment |= {
            "PCSEARCH_CACHE": str(folder / "cache"),
            "PYTHONPATH": os.pathsep.join((str(PACKAGE), str(CLOCK))),
            "SOAK_CLOCK_MARKER": str(folder / CLOCK_MARKER),
            "OMP_NUM_THREADS": "1",
            "TMPDIR": str(tmp),
        }
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pcsearch", *arguments],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._began = time.monotonic()
        self.below: set[Process] = set()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def age(self) -> float:
        return time.monotonic() - self._began

    @property
    def end_code(self) -> int | None:
        return self._process.poll()

    @property
    def everything(self) -> list[Event]:
        return [*self.before, *self.events]

    @property
    def output(self) -> str:
        return self._output.read_text(errors="replace")

    def look(self) -> list[Event]:
        """New events since the last look."""
        new = self._tail.read()
        self.events += new
        return new

    def wait(self, found: Callable[[list[Event]], bool], seconds: float = 120) -> bool:
        """Look until new events are what is sought; False when the process ends before.

        Raises:
            HungError: nothing of the kind within `seconds`.
        """
        until = time.monotonic() + seconds
        while True:
            ended = self._process.poll() is not None
            new = self.look()
            if new and found(new):
                return True
            if ended:
                return False
            if time.monotonic() > until:
                raise HungError(f"not what was waited for within {seconds:.0f} s")
            time.sleep(POLL_SECONDS)

    def rest(self, seconds: float) -> bool:
        """Let it run for a while; False when it ends before."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and self._process.poll() is None:
            time.sleep(POLL_SECONDS)
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        self.note_below()
        self._process.send_signal(number)

    def note_below(self) -> None:
        """Remember its processes, to see later that they are gone."""
        self.below |= set(descendants(self.pid))

    def finish(self, seconds: float) -> int:
        """Wait for its end.

        Raises:
            HungError: it does not end within `seconds`; it is killed.
        """
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise HungError(f"no end within {seconds:.0f} s") from None
        finally:
            self.look()
        return code

    def kill(self) -> None:
        """End it at once."""
        self.note_below()
        self._process.kill()
        self._process.wait()
