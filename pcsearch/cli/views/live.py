"""The live view: a region of the terminal, redrawn while a campaign runs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from pcsearch.cli.console import printed_above
from pcsearch.cli.views.progress import (
    ArmProgress,
    Running,
    Snapshot,
    StudyProgress,
    fraction_done,
    snapshot,
)
from pcsearch.cli.views.text import (
    NOTHING,
    bar,
    count,
    short_duration,
    short_percent,
    short_regulariser,
    sparkline,
)
from pcsearch.search.journal.journal_file import Event
from pcsearch.search.observer import STOPPING
from pcsearch.search.plan import Plan
from pcsearch.search.state import CampaignState
from pcsearch.search.trial import Phase

_PHASES: tuple[Phase, ...] = ("search", "finalists", "confirm")
_GAP = "  "
_BAR, _SHORT_BAR, _BEST, _STRENGTH, _CURVE = 10, 6, 5, 10, 8
_RUNNING_ROWS = 4
"""Fewest rows for running trials, including their heading."""


def frame(now: Snapshot, run_folder: str, columns: int, rows: int) -> Group:
    """The campaign now, in at most `rows` lines of `columns` cells."""
    top = _header(now, run_folder, columns)
    bottom = _notes(now, columns)
    space = rows - len(top) - len(bottom)
    wanted = 1 + len(now.running)
    table = _studies(now, columns, space - min(wanted, _RUNNING_ROWS) - 2)
    running = _running(now.running, columns, space - len(table) - 2)
    lines = [*top, Text(), *table, Text(), *running, *bottom]
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
        line.truncate(columns, overflow="ellipsis")
    return Group(*lines[:rows])


def _header(now: Snapshot, run_folder: str, columns: int) -> list[Text]:
    elapsed = f"{short_duration(now.elapsed_seconds)} elapsed"
    if now.budget_seconds is not None:
        elapsed += f" of {short_duration(now.budget_seconds)}"
    left = now.remaining_seconds
    eta = "time left: measuring" if left is None else f"~{short_duration(left)} left"
    share = fraction_done(now.counts)
    ended = f"{now.ended} of {count(now.planned, 'trial')} ended"
    details = f"{now.pruned} stopped early, {now.failed} failed, {now.trained} running"
    return [
        _ends(Text(now.name, "bold"), Text(f"{elapsed}, {eta}"), columns),
        Text.assemble(bar(share, columns - 6), f" {100 * share:3.0f} %"),
        _ends(
            Text(f"{ended} ({details}), {count(now.epochs, 'epoch')}"),
            Text(run_folder, "dim"),
            columns,
        ),
    ]


@dataclass(frozen=True)
class _Columns:
    """The table of studies: which phases it shows, and the width of its first column."""

    label: int
    phases: tuple[Phase, ...]
    widths: dict[Phase, int]
    bar: int
    curve: int
    strength: int = _STRENGTH

    def line(self, label: Text, cells: Sequence[Text | str], best: Sequence[Text | str]) -> Text:
        phases = [self.widths[phase] for phase in self.phases]
        widths = [*phases, self.bar, _BEST, self.strength, self.curve]
        right = [True] * len(self.phases) + [False, True, False, False]
        parts = [_cell(label, self.label)]
        for cell, width, align in zip((*cells, *best), widths, right, strict=True):
            if width:
                parts.append(_cell(cell, width, right=align))
        return Text(_GAP).join(parts)


def _studies(now: Snapshot, columns: int, space: int) -> list[Text]:
    """A row per arm if they fit, else a row per study, busy studies first."""
    detailed = 1 + sum(1 + len(study.arms) for study in now.studies) <= space
    names = [f"  {arm.name}" for study in now.studies for arm in study.arms]
    if not detailed:
        names = [study.id for study in now.studies]
    layout = _layout(now, columns, max(map(cell_len, (*names, "study"))), detailed)
    head = layout.line(Text("study"), [*layout.phases, "done"], ["best", "with", "curve"])
    head.stylize("dim")
    if not detailed:
        return [head, *_study_rows(now.studies, layout, space - 1)]
    lines = [head]
    for study in now.studies:
        lines.append(Text(study.id, "bold"))
        lines += [_arm_row(Text(f"  {arm.name}"), [arm], arm, layout) for arm in study.arms]
    return lines


def _study_rows(studies: Sequence[StudyProgress], layout: _Columns, space: int) -> list[Text]:
    shown: Sequence[StudyProgress] = studies
    if len(studies) > space:
        busy_first = sorted(studies, key=lambda study: (not study.running, study.settled))
        kept = {study.id for study in busy_first[: max(0, space - 1)]}
        shown = [study for study in studies if study.id in kept]
    lines = [_arm_row(Text(s.id), s.arms, _leader(s), layout) for s in shown]
    hidden = [study for study in studies if study not in shown]
    if hidden:
        done = sum(study.settled for study in hidden)
        more = "more study" if len(hidden) == 1 else "more studies"
        lines.append(Text(f"… and {len(hidden)} {more}, {done} done", "dim"))
    return lines


def _arm_row(label: Text, arms: Sequence[ArmProgress], best: ArmProgress, layout: _Columns) -> Text:
    cells: list[Text | str] = [_phase(arms, phase) for phase in layout.phases]
    share = (
        1.0
        if all(arm.settled for arm in arms)
        else fraction_done([count for arm in arms for count in arm.counts.values()])
    )
    cells.append(bar(share, layout.bar))
    return layout.line(label, cells, _best(best, layout.strength))


def _phase(arms: Sequence[ArmProgress], phase: Phase) -> str:
    ended = sum(arm.counts[phase].ended for arm in arms)
    planned = sum(arm.counts[phase].planned for arm in arms)
    return f"{ended}/{planned}" if planned else NOTHING


def _best(arm: ArmProgress, width: int) -> list[Text | str]:
    if arm.given_up is not None:
        return [Text("none", "red"), Text("failed", "red"), ""]
    if arm.best is None:
        return [NOTHING, "", ""]
    style = "bold green" if arm.best.chosen else ""
    value = Text(short_percent(arm.best.value), style)
    return [
        value,
        _strength(arm.best.config, width),
        Text(sparkline(arm.best.curve, _CURVE), "cyan"),
    ]


def _strength(config: Mapping[str, Any], width: int) -> str:
    """The arm's own parameters: with their names, or rounded and without them if space is short."""
    named = short_regulariser(dict(config))
    if cell_len(named) <= width:
        return named
    return " ".join(f"{float(part.rpartition(' ')[2]):.2g}" for part in named.split(", "))


def _leader(study: StudyProgress) -> ArmProgress:
    def value(arm: ArmProgress) -> float:
        return -1.0 if arm.best is None or arm.best.value is None else arm.best.value

    return max(study.arms, key=value)


def _layout(now: Snapshot, columns: int, label: int, detailed: bool) -> _Columns:
    counts = [arm.counts for study in now.studies for arm in study.arms]
    shown = tuple(p for p in _PHASES if any(c[p].planned for c in counts))
    widths = {
        phase: max(len(phase), *(2 * len(str(sum(c[phase].planned for c in counts))) + 1,))
        for phase in shown
    }
    fixed = sum(widths.values()) + _BEST + _STRENGTH + len(_GAP) * (len(shown) + 3)
    curve = _CURVE + len(_GAP)
    if not detailed and columns - fixed - _SHORT_BAR - curve < label:
        # Truncated study names look alike, so the names get the space of the curves.
        curve = 0
    free = columns - fixed - curve
    bar_width = max(_SHORT_BAR, min(_BAR, free - label))
    label_width = max(8, min(label, free - bar_width))
    best = [arm.best for study in now.studies for arm in study.arms if arm.best is not None]
    longest = max((cell_len(short_regulariser(one.config)) for one in best), default=0)
    unused = max(0, free - label_width - bar_width)
    strength = min(max(longest, _STRENGTH), _STRENGTH + unused)
    return _Columns(label_width, shown, widths, bar_width, max(0, curve - len(_GAP)), strength)


def _running(trials: Sequence[Running], columns: int, space: int) -> list[Text]:
    if not trials or space < 2:
        return []
    shown = trials if len(trials) < space else trials[: space - 2]
    longest = max(cell_len(trial.label) for trial in trials)
    width = max(8, min(longest, columns - 9 - _BEST - _CURVE - 3 * len(_GAP)))

    def line(label: str, epoch: str, value: str, curve: str) -> Text:
        cells = [_cell(label, width), _cell(epoch, 9, right=True), _cell(value, _BEST, right=True)]
        return Text(_GAP).join([*cells, Text(curve, "cyan")])

    head = line("running", "epoch", "last", "")
    head.stylize("dim")
    lines = [head]
    for trial in shown:
        curve = sparkline(trial.curve, _CURVE)
        lines.append(
            line(trial.label, f"{trial.epoch}/{trial.epochs}", short_percent(trial.value), curve)
        )
    if len(shown) < len(trials):
        lines.append(Text(f"… and {len(trials) - len(shown)} more running", "dim"))
    return lines


def _notes(now: Snapshot, columns: int) -> list[Text]:
    notes = []
    if now.waiting:
        wait = "1 trial waits" if now.waiting == 1 else f"{now.waiting} trials wait"
        notes.append(Text(f"{wait} for a node with room", "yellow"))
    if now.search_closed is not None:
        notes.append(Text(f"search closed: {now.search_closed}", "yellow"))
    if now.last_failure is not None:
        first = now.last_failure.splitlines()[0]
        notes.append(Text(f"last failure: {first}", "red"))
    return notes


def _ends(left: Text, right: Text, columns: int) -> Text:
    """Two texts at the ends of a line; without room for both, only the left one."""
    free = columns - left.cell_len - right.cell_len
    return Text.assemble(left, " " * free, right) if free >= 2 else left


def _cell(content: Text | str, width: int, *, right: bool = False) -> Text:
    text = Text(content) if isinstance(content, str) else content
    if text.cell_len > width:
        text = text.copy()
        text.truncate(width, overflow="ellipsis")
    padding = " " * (width - text.cell_len)
    return Text.assemble(padding, text) if right else Text.assemble(text, padding)


REPAINT_SECONDS = 0.25


class LiveView:
    """An `Observer` that draws into a terminal; `close` restores the terminal.

    Nothing else may write to the terminal meanwhile; output to `sys.stdout` or `sys.stderr` appears
    above the region.
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
        self.close()  # the line stays above the next region
        self._console.print(Text(line))

    def history(self, events: Iterable[Event]) -> None:
        """Does nothing: the state that follows is complete."""

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
        end = f" after {short_duration(self._elapsed)}: {trials}, {count(now.epochs, 'epoch')}"
        self._console.print(Text.assemble(now.name, " ", (status, style), end))
        self._console.print(Text(self._run_folder), soft_wrap=True)
        self._state, self._elapsed = None, 0.0

    def close(self) -> None:
        """Remove the region and restore the terminal; safe to call at any time."""
        self._live = None
        self._held.close()

    def _due(self) -> bool:
        return self._clock() - self._painted >= REPAINT_SECONDS

    def _paint(self, content: RenderableType) -> None:
        if self._live is not None and self._console.size != self._size:
            # The terminal has re-wrapped its lines, so they cannot be overwritten.
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
