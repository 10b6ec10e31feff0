"""The live view: one region of the terminal that is redrawn while a campaign runs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from pcsearch.cli.console import printed_above
from pcsearch.cli.frame import frame
from pcsearch.cli.progress import snapshot
from pcsearch.cli.text import bar, count, duration
from pcsearch.search.journal import Event
from pcsearch.search.observer import STOPPING
from pcsearch.search.plan import Plan
from pcsearch.search.state import CampaignState

REPAINT_SECONDS = 0.25


class LiveView:
    """An `Observer` that draws into a terminal; `close` gives the terminal back.

    Nothing else may write to the terminal meanwhile; what is printed through `sys.stdout` or
    `sys.stderr` appears above the region.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._live: Live | None = None
        self._held = contextlib.ExitStack()
        self._painted = float("-inf")
        self._size = console.size
        self._run_folder = ""
        self._state: CampaignState | None = None
        self._elapsed = 0.0

    def preparing(self, what: str, done: int, total: int) -> None:
        if done < total and not self._due():
            return
        share = done / total if total else 1.0
        line = Text.assemble(bar(share, 16), f" preparing {what}: {done:,} of {total:,}")
        waiting = Text("starting workers" if done >= total else "", "dim")
        self._paint(Group(line, waiting))

    def noted(self, line: str) -> None:
        self.close()  # the line stays above the region that follows
        self._console.print(Text(line))

    def history(self, events: Iterable[Event]) -> None:
        """Nothing: the state that follows has it all."""

    def started(self, run_folder: Path | str, plan: Plan, width: int) -> None:
        self._run_folder = str(run_folder)
        self._state = None
        if not width:
            return
        trials = f"{count(width, 'trial')} at once"
        self._paint(Text(f"{plan.name}: {count(len(plan.studies), 'study')}, {trials}, starting"))

    def event(self, event: Event, state: CampaignState) -> None:
        self._state, self._elapsed = state, max(self._elapsed, state.seconds)

    def tick(
        self, state: CampaignState, elapsed_seconds: float, width: int, waiting: int = 0
    ) -> None:
        self._state, self._elapsed = state, elapsed_seconds
        if self._due():
            columns, rows = self._console.size
            now = snapshot(state, elapsed_seconds, width, waiting)
            self._paint(frame(now, self._run_folder, columns, rows - 1))

    def stopping(self, line: str = STOPPING) -> None:
        self.noted(line)

    def finished(self, status: str) -> None:
        self.close()
        if self._state is None:
            return
        now = snapshot(self._state, self._elapsed, 1)
        style = {"complete": "bold green", "interrupted": "bold yellow"}.get(status, "bold red")
        ended = f"{count(now.ended, 'trial')} ended"
        trials = f"{ended} ({now.pruned} stopped early, {now.failed} failed)"
        end = f" after {duration(self._elapsed)}: {trials}, {count(now.epochs, 'epoch')}"
        self._console.print(Text.assemble(now.name, " ", (status, style), end))
        self._console.print(Text(self._run_folder), soft_wrap=True)
        self._state, self._elapsed = None, 0.0

    def close(self) -> None:
        """Take the region away and restore the terminal; safe to call at any time."""
        self._live = None
        self._held.close()

    def _due(self) -> bool:
        return self._clock() - self._painted >= REPAINT_SECONDS

    def _paint(self, content: RenderableType) -> None:
        if self._live is not None and self._console.size != self._size:
            # The terminal has re-wrapped what it showed, so its lines cannot be overwritten.
            self.close()
            self._console.clear()
        self._size = self._console.size
        if self._live is None:
            self._held.enter_context(printed_above(self._console))
            self._live = self._held.enter_context(
                Live(console=self._console, auto_refresh=False, transient=True)
            )
        self._live.update(content, refresh=True)
        self._painted = self._clock()
