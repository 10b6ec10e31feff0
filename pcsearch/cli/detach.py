"""`--detach`: a campaign in a process of its own, which survives the terminal and its commands.

The command starts itself again in a session of its own and follows it over a socket until the
campaign has begun. Until then the process sends its events and errors there, and asks its questions
there. Then the run's `output.log` takes their place, and the command returns.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import typer

from pcsearch.cli.attach import watch_run
from pcsearch.cli.console import EndedCampaign, Watch, observer, say, write_json
from pcsearch.cluster.follow import LINE_KEY, EventLines, follow
from pcsearch.io import open_to_append
from pcsearch.runs.find import find_run
from pcsearch.search.journal.journal_file import Event, encode
from pcsearch.search.observer import STOPPING, Observer
from pcsearch.search.plan import Plan
from pcsearch.search.state import CampaignState

_CHILD = "PCSEARCH_DETACHED"
"""Set for the process that runs the campaign."""

_LOG = "output.log"
_ASKS = encode({LINE_KEY: "asks"})
_YES = b"yes\n"
_DETACHED = "detached"
_LOOK_SECONDS = 0.2


def watch_of(detach: bool, *, plain: bool, events: bool) -> Watch:
    """The view of a campaign; with `--detach`, only the detached process returns from here.

    Raises:
        typer.Exit: the campaign has begun in the detached process (code 0), or has not (its code).
    """
    if not detach:
        return Watch(plain=plain, events=events)
    if os.environ.pop(_CHILD, None) is None:
        raise _Starting(plain=plain, events=events).run()
    return _DetachedWatch(events=events)


class _Starting:
    """The command that starts the detached process, until its campaign has begun."""

    def __init__(self, *, plain: bool, events: bool) -> None:
        self._view = Watch(plain=plain, events=events)
        self._events = events
        self._here, there = socket.socketpair()
        with there:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pcsearch", *sys.argv[1:]],
                stdin=subprocess.DEVNULL,
                stdout=there.fileno(),
                stderr=there.fileno(),
                start_new_session=True,
                env=os.environ | {_CHILD: "1"},
            )
        self._begun: dict[str, Any] | None = None
        self._told_to_end = False

    def run(self) -> typer.Exit:
        before = {number: signal.signal(number, self._pass_on) for number in _PASSED_ON}
        try:
            with self._view:
                for end in follow(self._lines(), self._view.observer, say, None):
                    self._view.ended(end)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._begun is None:
            code = self._process.wait()
            return typer.Exit(code if code >= 0 else 128 - code)
        if self._told_to_end:  # too late for "before anything started"
            return watch_run(find_run(self._begun["run"], "."), plain=True)
        self._tell(**self._begun)
        return typer.Exit(0)

    def _lines(self) -> Iterator[str]:
        """What the process writes, until its campaign has begun or it has ended."""
        mark = f'{{"{LINE_KEY}":"{_DETACHED}"'
        for line in self._written():
            if line == _ASKS:
                self._answer()
            elif line.startswith(mark):
                self._begun = json.loads(line)
                return
            else:
                yield line

    def _written(self) -> Iterator[str]:
        self._here.settimeout(_LOOK_SECONDS)
        rest = b""
        while True:
            ended = self._process.poll() is not None  # its own children may hold the socket
            try:
                part = self._here.recv(2**16)
            except TimeoutError:
                if not ended:
                    continue
                part = b""
            if not part:
                break
            *whole, rest = (rest + part).split(b"\n")
            yield from (line.decode(errors="replace") for line in whole)
        if rest:
            yield rest.decode(errors="replace")

    def _answer(self) -> None:
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            answer = _YES if self._view.agrees() else b"no\n"
        except (KeyboardInterrupt, typer.Abort):
            self._pass_on(signal.SIGINT, None)
            return
        finally:
            signal.signal(signal.SIGINT, before)
        with contextlib.suppress(OSError):  # it has ended meanwhile
            self._here.sendall(answer)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self._told_to_end = True
        with contextlib.suppress(OSError):
            self._process.send_signal(number)

    def _tell(self, run: str, pid: int, log: str, **more: Any) -> None:
        if self._events:
            write_json({LINE_KEY: _DETACHED, "run": run, "pid": pid, "log": log})
            return
        named = shlex.quote(run)
        typer.echo(
            f"{run} runs on its own now, as process {pid}; its output goes to {log}\n"
            f"Follow it with: pcsearch attach {named}\n"
            f"Stop it with: pcsearch stop {named}"
        )


_PASSED_ON = (signal.SIGINT, signal.SIGTERM)
"""Signals of the command that also end the process before its campaign has begun. A closed
terminal does not."""


class _DetachedWatch(Watch):
    """The view of the detached process: the starting command, then the run's log."""

    def __init__(self, *, events: bool) -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # `pcsearch stop` sends it
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self._shown = _Shown(events)
        super().__init__(plain=True)
        self.observer = self._shown
        self._prints = not events

    def agrees(self) -> bool:
        return self._shown.ask()

    def ended(self, outcome: EndedCampaign) -> None:
        if not self._shown.is_detached:  # the starting command prints it
            self._prints = False
        super().ended(outcome)


class _Shown:
    """An observer: both the starting command and the log see everything, then the log alone."""

    def __init__(self, events: bool) -> None:
        self._socket = socket.socket(fileno=os.dup(1))
        self._channel = _Channel(self._socket, self._lost)
        self._log = _Log()
        kept = observer(plain=True, events=events, stream=self._log)
        self._told: list[Observer] = [EventLines(self._channel), kept]
        self.is_detached = False

    def ask(self) -> bool:
        self._channel.write(f"{_ASKS}\n")
        try:
            return self._socket.recv(len(_YES)) == _YES
        except OSError:
            return False

    def preparing(self, what: str, done: int, total: int) -> None:
        self._each(lambda one: one.preparing(what, done, total))

    def noted(self, line: str) -> None:
        self._each(lambda one: one.noted(line))

    def history(self, events: Iterable[Event]) -> None:
        past = list(events)
        self._each(lambda one: one.history(past))

    def started(self, run_folder: Path | str, plan: Plan, max_concurrent: int) -> None:
        self._each(lambda one: one.started(run_folder, plan, max_concurrent))
        if max_concurrent:  # else nothing is left to run
            self._detach(str(run_folder))

    def event(self, event: Event, state: CampaignState) -> None:
        self._each(lambda one: one.event(event, state))

    def tick(
        self, state: CampaignState, elapsed_seconds: float, max_concurrent: int, waiting: int = 0
    ) -> None:
        self._each(lambda one: one.tick(state, elapsed_seconds, max_concurrent, waiting))

    def stopping(self, line: str = STOPPING) -> None:
        self._each(lambda one: one.stopping(line))

    def finished(self, status: str) -> None:
        self._each(lambda one: one.finished(status))

    def close(self) -> None:
        """Nothing to restore."""

    def _each(self, tell: Callable[[Observer], None]) -> None:
        for one in self._told:
            tell(one)

    def _detach(self, run: str) -> None:
        """Write to the run's log from now on, and let the starting command return."""
        log = Path(f"{run.rstrip('/').rpartition('/')[2]}.log" if "://" in run else f"{run}/{_LOG}")
        _write_to(log)
        self._log.open()
        if not self.is_detached:
            told = {LINE_KEY: _DETACHED, "run": run, "pid": os.getpid(), "log": str(log)}
            self._channel.write(encode(told) + "\n")
            self.is_detached = True
            self._told = self._told[1:]
            self._socket.close()

    def _lost(self) -> None:
        """The starting command ended early, as with a closed terminal: the campaign goes on."""
        _write_to(Path(f"pcsearch-detached-{os.getpid()}.log"))


class _Channel(io.StringIO):
    """Text for the starting command, as long as it listens."""

    def __init__(self, to: socket.socket, lost: Callable[[], None]) -> None:
        super().__init__()
        self._to, self._when_lost, self._is_lost = to, lost, False

    def write(self, text: str) -> int:
        if not self._is_lost:
            try:
                self._to.sendall(text.encode(errors="replace"))
            except OSError:
                self._is_lost = True
                self._when_lost()
        return len(text)


class _Log(io.StringIO):
    """Text for the log: kept until the run folder exists. A full disk costs the log alone."""

    _is_open = False

    def write(self, text: str) -> int:
        if not self._is_open:
            return super().write(text)
        with contextlib.suppress(OSError):
            sys.stdout.write(text)
            sys.stdout.flush()
        return len(text)

    def open(self) -> None:
        """Write what was kept, and everything from now on, to standard output."""
        if not self._is_open:
            self._is_open = True
            self.write(self.getvalue())


def _write_to(log: Path) -> None:
    """Append standard output and standard error to a file; without room for it, drop them."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    try:
        descriptor = open_to_append(log)
    except OSError:
        descriptor = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(descriptor, number)
    os.close(descriptor)
