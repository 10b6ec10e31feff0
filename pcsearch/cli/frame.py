"""One frame of the live view: a snapshot drawn into a given number of columns and rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Group
from rich.text import Text

from pcsearch.cli.progress import ArmProgress, Running, Snapshot, StudyProgress, fraction
from pcsearch.cli.text import NOTHING, bar, count, duration, percent, sparkline, strength
from pcsearch.search.trial import Phase

_PHASES: tuple[Phase, ...] = ("search", "finalists", "confirm")
_GAP = "  "
_BAR, _SHORT_BAR, _BEST, _STRENGTH, _CURVE = 10, 6, 5, 10, 8
_RUNNING_ROWS = 4
"""Rows that running trials get at least, their heading included."""


def frame(now: Snapshot, run_folder: str, columns: int, rows: int) -> Group:
    """The campaign now, in at most `rows` lines of at most `columns` cells."""
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
    elapsed = f"{duration(now.elapsed_seconds)} elapsed"
    if now.budget_seconds is not None:
        elapsed += f" of {duration(now.budget_seconds)}"
    left = now.remaining_seconds
    eta = "time left: measuring" if left is None else f"~{duration(left)} left"
    share = fraction(now.counts)
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

    def line(self, label: Text, cells: Sequence[Text | str], best: Sequence[Text | str]) -> Text:
        phases = [self.widths[phase] for phase in self.phases]
        widths = [*phases, self.bar, _BEST, _STRENGTH, self.curve]
        right = [True] * len(self.phases) + [False, True, False, False]
        parts = [_cell(label, self.label)]
        for cell, width, align in zip((*cells, *best), widths, right, strict=True):
            if width:
                parts.append(_cell(cell, width, right=align))
        return Text(_GAP).join(parts)


def _studies(now: Snapshot, columns: int, space: int) -> list[Text]:
    """A row an arm where they fit, else a row a study, the busy studies first."""
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
        else fraction([count for arm in arms for count in arm.counts.values()])
    )
    cells.append(bar(share, layout.bar))
    return layout.line(label, cells, _best(best))


def _phase(arms: Sequence[ArmProgress], phase: Phase) -> str:
    ended = sum(arm.counts[phase].ended for arm in arms)
    planned = sum(arm.counts[phase].planned for arm in arms)
    return f"{ended}/{planned}" if planned else NOTHING


def _best(arm: ArmProgress) -> list[Text | str]:
    if arm.given_up is not None:
        return [Text("none", "red"), Text("failed", "red"), ""]
    if arm.best is None:
        return [NOTHING, "", ""]
    style = "bold green" if arm.best.chosen else ""
    value = Text(percent(arm.best.value), style)
    return [value, strength(arm.best.config), Text(sparkline(arm.best.curve, _CURVE), "cyan")]


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
        # Studies cut short look alike; their curves are seen when there are fewer.
        curve = 0
    free = columns - fixed - curve
    bar_width = max(_SHORT_BAR, min(_BAR, free - label))
    label_width = max(8, min(label, free - bar_width))
    return _Columns(label_width, shown, widths, bar_width, max(0, curve - len(_GAP)))


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
            line(trial.label, f"{trial.epoch}/{trial.epochs}", percent(trial.value), curve)
        )
    if len(shown) < len(trials):
        lines.append(Text(f"… and {len(trials) - len(shown)} more running", "dim"))
    return lines


def _notes(now: Snapshot, columns: int) -> list[Text]:
    notes = []
    if now.waiting:
        wait = "1 trial waits" if now.waiting == 1 else f"{now.waiting} trials wait"
        notes.append(Text(f"{wait} for a node that has room", "yellow"))
    if now.search_closed is not None:
        notes.append(Text(f"search closed: {now.search_closed}", "yellow"))
    if now.last_failure is not None:
        first = now.last_failure.splitlines()[0]
        notes.append(Text(f"last failure: {first}", "red"))
    return notes


def _ends(left: Text, right: Text, columns: int) -> Text:
    """Two texts at the ends of a line; the right one goes where both do not fit."""
    free = columns - left.cell_len - right.cell_len
    return Text.assemble(left, " " * free, right) if free >= 2 else left


def _cell(content: Text | str, width: int, *, right: bool = False) -> Text:
    text = Text(content) if isinstance(content, str) else content
    if text.cell_len > width:
        text = text.copy()
        text.truncate(width, overflow="ellipsis")
    padding = " " * (width - text.cell_len)
    return Text.assemble(padding, text) if right else Text.assemble(text, padding)
