"""A campaign as lines of JSON: write its events, and follow them over a bad connection.

`EventLines` observes a campaign and writes its events. `follow` reads them, folds them into a state
of its own and passes them to another observer. So a reader of the lines gets the live view and the
final table without access to the run's folder.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shlex
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

from pcsearch.cluster.jobs import Job, Jobs, LostConnectionError, SilentError, UnknownJobError
from pcsearch.cluster.tunnel import dashboard_of
from pcsearch.errors import PcsearchError, UserError
from pcsearch.reporting.summary import Summary, summarise
from pcsearch.runs.find import is_remote
from pcsearch.runs.folder import resume_command
from pcsearch.search.journal.events import check_event
from pcsearch.search.journal.journal_file import Event, encode, parse_line
from pcsearch.search.observer import STOPPING, STOPPING_THERE, Observer, Silent
from pcsearch.search.plan import Plan
from pcsearch.search.state import CampaignState, replay

LINE_KEY = "pcsearch"
"""The key in every line of ours; its value is the kind. Other lines are ordinary output."""

_TICK_SECONDS = 2.0


class EventLines:
    """An `Observer` that writes everything it observes to a stream, for `follow`."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._ticked = float("-inf")

    def preparing(self, what: str, done: int, total: int) -> None:
        if done >= total or self._due():
            self._write("preparing", what=what, done=done, total=total)

    def noted(self, line: str) -> None:
        self._write("noted", line=line)

    def history(self, events: Iterable[Event]) -> None:
        for event in events:
            self._write("history", event=event)

    def started(self, run_folder: Path | str, plan: Plan, width: int) -> None:
        campaign = {"event": "campaign", "t": 0.0, "plan": plan.model_dump(mode="json")}
        run = str(run_folder)  # readers are in another folder
        run = run if is_remote(run) else os.path.abspath(run)  # noqa: PTH100 (keeps links)
        self._write("started", run=run, width=width, campaign=campaign)

    def event(self, event: Event, state: CampaignState) -> None:
        self._write("event", event=event)

    def tick(
        self, state: CampaignState, elapsed_seconds: float, width: int, waiting: int = 0
    ) -> None:
        if self._due():
            seconds = round(elapsed_seconds, 1)
            self._write("tick", seconds=seconds, width=width, waiting=waiting)

    def stopping(self, line: str = STOPPING) -> None:
        self._write("stopping")

    def finished(self, status: str) -> None:
        self._write("finished", status=status)

    def close(self) -> None:
        """Nothing to restore."""

    def _due(self) -> bool:
        now = self._clock()
        due = now - self._ticked >= _TICK_SECONDS
        self._ticked = now if due else self._ticked
        return due

    def _write(self, told: str, /, **more: Any) -> None:
        self._stream.write(encode({LINE_KEY: told, **more}) + "\n")
        self._stream.flush()


@dataclass(frozen=True)
class Followed:
    """One campaign's end, from its lines."""

    run: str
    """The run's folder or address on the cluster."""
    state: CampaignState
    summary: Summary
    cluster: str | None
    """None for a run that this machine reads itself."""

    @property
    def resume_command(self) -> str:
        """The command that resumes it."""
        if self.cluster is None:
            return resume_command(self.run)
        words = ["pcsearch", "cluster", "submit", self.cluster, "--resume", self.run]
        return shlex.join(words)


def follow(
    lines: Iterable[str], observer: Observer, other: Callable[[str], None], cluster: str | None
) -> Iterator[Followed]:
    """Pass the events in the lines to an observer; yield each campaign's end.

    Args:
        lines: Lines of `EventLines` among other output.
        observer: Receives events as if the campaign ran here.
        other: Called with each other line.
        cluster: The cluster's file or address, as the user gave it; None without a cluster.

    Raises:
        UserError: this version cannot read a line of ours.
    """
    reader = _Reader(observer, cluster)
    for line in lines:
        told = _told(line)
        if told is None:
            other(line)
            continue
        try:
            end = reader.take(told.pop(LINE_KEY), told)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"cannot read a line of the campaign ({error!r}): another version of pcsearch "
                "wrote it; install the cluster's version here"
            ) from error
        if end is not None:
            yield end


class Latest(Silent):
    """An observer that remembers the progress of the latest campaign."""

    def __init__(self) -> None:
        self.run = ""
        self.state: CampaignState | None = None
        self.seconds = 0.0
        self.width = 1
        self.waiting = 0

    def started(self, run_folder: Path | str, plan: Plan, width: int) -> None:
        self.run, self.state, self.width = str(run_folder), None, width

    def event(self, event: Event, state: CampaignState) -> None:
        self.state, self.seconds = state, max(self.seconds, state.seconds)

    def tick(
        self, state: CampaignState, elapsed_seconds: float, width: int, waiting: int = 0
    ) -> None:
        self.state, self.seconds, self.waiting = state, elapsed_seconds, waiting


class _Reader:
    """The state from one campaign's lines so far."""

    def __init__(self, observer: Observer, cluster: str | None) -> None:
        self._observer = observer
        self._cluster = cluster
        self._run = ""
        self._forget()

    def _forget(self) -> None:
        self._past: list[Event] = []
        self._early: list[Event] = []
        """Events of a resumption, which come before the line that starts the campaign."""
        self._state: CampaignState | None = None

    def take(self, what: str, told: dict[str, Any]) -> Followed | None:
        """Pass one line to the observer; the campaign's end if it was its last line."""
        observer = self._observer
        if what == "preparing":
            observer.preparing(str(told["what"]), int(told["done"]), int(told["total"]))
        elif what == "noted":
            observer.noted(str(told["line"]))
        elif what == "history":
            self._past.append(check_event(told["event"]))
        elif what == "event":
            self._event(check_event(told["event"]))
        elif what == "started":
            self._run = str(told["run"])
            self._begin(check_event(told["campaign"]))
            observer.started(self._run, self._known.plan, int(told["width"]))
        elif what == "tick":
            waiting = int(told.get("waiting", 0))
            observer.tick(self._known, float(told["seconds"]), int(told["width"]), waiting)
        elif what == "stopping":
            observer.stopping(STOPPING_THERE)  # a second Ctrl-C here does not end it there
        elif what == "finished":
            return self._finished(str(told["status"]))
        return None  # ignore unknown kinds of later versions

    @property
    def _known(self) -> CampaignState:
        if self._state is None:
            raise ValueError("it comes before the campaign's first line")
        return self._state

    def _begin(self, campaign: Event) -> None:
        self._state = replay(self._past or [campaign])
        self._observer.history(self._past)
        early, self._early = self._early, []
        for event in early:
            self._event(event)

    def _event(self, event: Event) -> None:
        if self._state is None:
            self._early.append(event)
            return
        self._state.apply(event)
        self._observer.event(event, self._state)

    def _finished(self, status: str) -> Followed | None:
        self._observer.finished(status)
        state = self._state
        self._forget()
        return (
            None if state is None else Followed(self._run, state, summarise(state), self._cluster)
        )


def _told(line: str) -> dict[str, Any] | None:
    if not line.startswith('{"' + LINE_KEY + '":'):
        return None
    with contextlib.suppress(ValueError, json.JSONDecodeError):
        told = parse_line(line.encode())
        if isinstance(told, dict) and isinstance(told.get(LINE_KEY), str):
            return told
    return None


RECONNECT_SECONDS = 120.0
_PAUSE_SECONDS = 2.0


class Following:
    """The output of a job, line by line, until it ends; `job` is its latest status.

    Args:
        cluster: The cluster's file, or its dashboard's address.
        job: The job's id, or None for the latest campaign.
        patience_seconds: How long a lost connection is retried.
    """

    def __init__(
        self, cluster: str, job: str | None, patience_seconds: float = RECONNECT_SECONDS
    ) -> None:
        self._cluster = cluster
        self._patience = patience_seconds
        with dashboard_of(cluster) as address:
            self.job: Job = Jobs(address).find_submitted(job)

    def lines(self, lost: Callable[[], None]) -> Iterator[str]:
        """Yield each line once, also after reconnecting; a broken connection calls `lost`.

        A campaign may be silent for long, for example without its store. It is followed while the
        cluster answers and has the job.

        Raises:
            PcsearchError: the connection stays broken, or the cluster no longer has the job.
        """
        seen, answered = 0, time.monotonic()
        while True:
            try:
                with dashboard_of(self._cluster) as address:
                    jobs = Jobs(address)
                    self.job, answered = jobs.find(self.job.id), time.monotonic()
                    for line in itertools.islice(jobs.lines(self.job.id), seen, None):
                        seen, answered = seen + 1, time.monotonic()
                        yield line
                    self.job = jobs.find(self.job.id)
                answered = time.monotonic()
                if not self.job.runs:
                    return
            except SilentError:  # the next request shows whether the connection broke
                if not self.job.runs:
                    return
            except UnknownJobError as error:
                raise PcsearchError(
                    f"{self._cluster} was restarted, which ended {self.job.id}. Finished work is "
                    f"kept. Resume with: {self.resume_command}"
                ) from error
            except (LostConnectionError, UserError) as error:
                if time.monotonic() - answered > self._patience:
                    raise PcsearchError(
                        f"the connection to {self._cluster} is lost ({error}). If its head lives, "
                        f"the campaign continues. Follow it again with: {self.attach_command}"
                    ) from error
                lost()
                time.sleep(_PAUSE_SECONDS)

    @property
    def resume_command(self) -> str:
        """The command that resumes its run on the cluster."""
        run, runs = self.job.metadata.get("name") or "RUN", self.job.metadata.get("runs", "")
        words = ["pcsearch", "cluster", "submit", self._cluster, "--resume"]
        # For a run resumed by its address, the metadata holds that address as `runs`.
        own = [runs] if PurePosixPath(runs).name == run else [run, "--runs", runs]
        return shlex.join([*words, *own])

    @property
    def attach_command(self) -> str:
        """The command that follows it again."""
        return f"pcsearch cluster attach {shlex.quote(self._cluster)} {self.job.id}"
