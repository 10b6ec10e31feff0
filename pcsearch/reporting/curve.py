"""A curve in a terminal, in block characters, or in ASCII where these cannot be written."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

_HEIGHT = 8
_WIDEST_STEP = 6
_MOST_COLUMNS = 72


@dataclass(frozen=True)
class Curve:
    """Values by epoch. The largest has a full column, the smallest a low one.

    Attributes:
        values: One for each epoch from 1; None where none was measured.
        marked: Epochs with a mark below the axis.
        mark: What the mark means.
    """

    values: Sequence[float | None]
    marked: Collection[int] = ()
    mark: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        known = [value for value in self.values if value is not None and math.isfinite(value)]
        if not known:
            yield Text("no values yet")
            return
        ascii_only = options.ascii_only
        low, high = min(known), max(known)
        labels = [_label(high), _label(low)]
        margin = max(map(len, labels))
        columns = min(options.max_width, _MOST_COLUMNS) - margin - 2
        points, step = self._points(columns)
        side, corner, line = ("|", "+", "-") if ascii_only else ("│", "└", "─")
        for row in range(_HEIGHT, 0, -1):
            label = labels[0] if row == _HEIGHT else labels[1] if row == 1 else ""
            cells = "".join(
                _cell(value, row, low, high, ascii_only).ljust(step) for _, value in points
            )
            yield Text(f"{label:>{margin}} {side}{cells}".rstrip())
        axis = "".join(
            ("^" if self.marked and last in self.marked else line).ljust(step, line)
            for last, _ in points
        )
        yield Text(f"{'':>{margin}} {corner}{axis.rstrip()}")
        ends = f"{points[0][0]:<{max(1, step * (len(points) - 1))}}{points[-1][0]}"
        told = ends if len(points) > 1 else str(points[0][0])
        yield Text(f"{'':>{margin}}  {told} epochs{self._legend()}")

    def _legend(self) -> str:
        shown = any(epoch <= len(self.values) for epoch in self.marked)
        return f"   ^ {self.mark}" if shown and self.mark else ""

    def _points(self, columns: int) -> tuple[list[tuple[int, float | None]], int]:
        """(last epoch, its value) for each column that fits, and the columns that each takes."""
        count = len(self.values)
        each = max(1, -(-count // max(1, columns)))
        step = max(1, min(_WIDEST_STEP, columns // count)) if each == 1 else 1
        lasts = [min(count, first + each) for first in range(0, count, each)]
        return [(last, self.values[last - 1]) for last in lasts], step


def _label(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


_EIGHTHS = " ▁▂▃▄▅▆▇█"


def _cell(value: float | None, row: int, low: float, high: float, ascii_only: bool) -> str:
    """The part of a column that lies in a row of `_HEIGHT`, the lowest row first."""
    if value is None or not math.isfinite(value):
        return " "
    share = (value - low) / (high - low) if high > low else 1.0
    filled = 1 + share * (_HEIGHT * 8 - 1) - (row - 1) * 8
    if ascii_only:
        return "#" if filled >= 4 or (row == 1 and filled > 0) else " "
    return _EIGHTHS[min(8, max(0, round(filled)))]
