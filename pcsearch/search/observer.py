"""What a campaign reports to its observer: a live view, plain lines, or none."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from pcsearch.search.journal.journal_file import Event
from pcsearch.search.plan import Plan
from pcsearch.search.state import CampaignState

STOPPING_THERE = "stopping: running trials may end their epoch"
STOPPING = f"{STOPPING_THERE}; Ctrl-C again ends at once"


class Observer(Protocol):
    """Watches a campaign from its preparation to its end; must not change it."""

    def preparing(self, what: str, done: int, total: int) -> None:
        """`done` of the `total` items of `what` are ready."""

    def noted(self, line: str) -> None:
        """A line for the user, before the campaign starts or while trials wait."""

    def history(self, events: Iterable[Event]) -> None:
        """The journal's events before a campaign resumes; iterate over them only if needed."""

    def started(self, run_folder: Path | str, plan: Plan, max_concurrent: int) -> None:
        """The run folder exists, and trials are about to be asked, `max_concurrent` at once.

        `run_folder` is an address if the run is in a store. A `max_concurrent` of 0 means that
        nothing is left to run.
        """

    def event(self, event: Event, state: CampaignState) -> None:
        """An event was written to the journal and folded into the state."""

    def tick(
        self, state: CampaignState, elapsed_seconds: float, max_concurrent: int, waiting: int = 0
    ) -> None:
        """Called about ten times a second while trials run; `waiting` of them have no node yet."""

    def stopping(self, line: str = STOPPING) -> None:
        """Ctrl-C or a stop from elsewhere was received, as `line` says. Called once."""

    def finished(self, status: str) -> None:
        """The campaign ended, well or not. Called exactly once, also after an error."""


class Silent:
    """Watches nothing."""

    def preparing(self, what: str, done: int, total: int) -> None: ...

    def noted(self, line: str) -> None: ...

    def history(self, events: Iterable[Event]) -> None: ...

    def started(self, run_folder: Path | str, plan: Plan, max_concurrent: int) -> None: ...

    def event(self, event: Event, state: CampaignState) -> None: ...

    def tick(
        self, state: CampaignState, elapsed_seconds: float, max_concurrent: int, waiting: int = 0
    ) -> None: ...

    def stopping(self, line: str = STOPPING) -> None: ...

    def finished(self, status: str) -> None: ...
