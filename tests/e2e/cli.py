"""The real command line in a process of its own, and what that process left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from tests.e2e.prefork import Forked, server

PACKAGE = Path(__file__).resolve().parents[2]
T = TypeVar("T")
Started = Forked | subprocess.Popen[str]


@dataclass(frozen=True)
class Result:
    """An ended process."""

    code: int
    out: str
    err: str
    seconds: float

    def __str__(self) -> str:
        return f"exit {self.code}\n--- out\n{self.out}\n--- err\n{self.err}"


@dataclass(frozen=True)
class CommandLine:
    """`python -m pcsearch` with a folder to run in and an image cache of its own.

    Ray's Python processes are forked like the command, unless its `workers` are to be `started`.
    """

    folder: Path
    cache: Path
    workers: Literal["forked", "started"] = "forked"

    def run(self, *arguments: object, timeout: float = 240) -> Result:
        """Run a command to its end."""
        return ended(self.start(*arguments), timeout)

    def start(self, *arguments: object) -> Started:
        """Start a command and leave it running: forked from a process that has imported it."""
        return server().start(
            [str(one) for one in arguments],
            self.folder,
            self._environment(),
            forks_ray=self.workers == "forked" and arguments[:1] in (("tune",), ("resume",)),
        )

    def start_python(self, *arguments: str) -> subprocess.Popen[str]:
        """Start an interpreter of its own, where how it starts is what is tested."""
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _environment(self) -> dict[str, str]:
        # without PYTHONUNBUFFERED: what is not written out at once is part of the product
        left_out = ("RAY_", "PYTHONUNBUFFERED")
        environment = {key: os.environ[key] for key in os.environ if not key.startswith(left_out)}
        return environment | {
            "PCSEARCH_CACHE": str(self.cache),
            "PYTHONPATH": str(PACKAGE),
            "OMP_NUM_THREADS": "1",
        }

    def summary(self, run: str) -> dict[str, Any]:
        """`pcsearch summary RUN --json`."""
        result = self.run("summary", run, "--json", timeout=60)
        assert result.code == 0, result
        summary: dict[str, Any] = json.loads(result.out)
        return summary

    def trials(self, run: str) -> list[dict[str, Any]]:
        """`pcsearch trials RUN --json`, one object a line."""
        result = self.run("trials", run, "--json", timeout=60)
        assert result.code == 0, result
        return [json.loads(line) for line in result.out.splitlines()]

    def events(self, run: str) -> list[dict[str, Any]]:
        """The whole lines of a run's journal."""
        return read_journal(self.folder / "runs" / run / "journal.jsonl")


def ended(process: Started, timeout: float = 240) -> Result:
    """Wait for a process; one that hangs is killed."""
    began = time.monotonic()
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"no end after {timeout} s:\n{out}\n{err}") from None
    return Result(process.returncode, out, err, time.monotonic() - began)


def overrides(**sections: Mapping[str, object] | object) -> list[str]:
    """`search={"trials": 2}` and the like as KEY=VALUE arguments."""
    arguments = []
    for section, content in sections.items():
        entries = content if isinstance(content, Mapping) else {"": content}
        for key, value in entries.items():
            text = value if isinstance(value, str) else json.dumps(value)
            arguments.append(f"{section}{'.' if key else ''}{key}={text}")
    return arguments


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The events of a journal that may be growing, without their seals."""
    if not path.is_file():
        return []
    whole = path.read_text().rpartition("\n")[0]
    events = [json.loads(line) for line in whole.splitlines()]
    return [{key: event[key] for key in event if key != "seal"} for event in events]


def wait_for(what: Callable[[], T | None], process: Started, seconds: float = 120) -> T:
    """Poll until there is something, while a process runs."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = what()
        if found:
            return found
        if process.poll() is not None:
            raise AssertionError(f"it ended too early: {ended(process)}")
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"nothing after {seconds} s: {ended(process)}")


def epoch_events(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == "epoch"]


@dataclass(frozen=True)
class Process:
    """A process as /proc shows it; `started` tells it from a later one with the same number."""

    pid: int
    parent: int
    started: str
    command: str

    @property
    def is_alive(self) -> bool:
        return any(self == other for other in processes())


def processes() -> Iterator[Process]:
    """All processes that are not zombies."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            status = (folder / "stat").read_text().rpartition(") ")[2].split()
            command = (
                (folder / "cmdline")
                .read_bytes()
                .replace(b"\0", b" ")
                .decode(errors="replace")
                .strip()
            )
        except OSError:
            continue
        if status[0] != "Z":
            yield Process(int(folder.name), int(status[1]), status[19], command)


def descendants(pid: int) -> list[Process]:
    """The processes below one, however deep."""
    everyone = list(processes())
    found = [process for process in everyone if process.parent == pid]
    for process in found:
        found += [other for other in everyone if other.parent == process.pid]
    return found


def workers(pid: int) -> list[Process]:
    """Ray's worker processes below a driver that run a trial."""
    busy = "ray::ImplicitFunc", "ray::train_trial", "ray::bundle"
    return [process for process in descendants(pid) if process.command.startswith(busy)]
