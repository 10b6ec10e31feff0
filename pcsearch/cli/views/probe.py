"""Shows a λ curve as a table whose last column draws it."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pcsearch.cli.views.text import NOTHING, count
from pcsearch.reporting.lambda_curve import CAVEAT, CurvePoint, Difference, LambdaCurve
from pcsearch.training.metrics import METRICS

_PADDING, _GAP = 2, 3  # after a column; including the box's own space
_NARROWEST, _WIDEST = 8, 45
"""Width of the drawing in cells; with less room it is omitted."""


def probe_view(curve: LambdaCurve, columns: int) -> RenderableType:
    """The settings, the table with the curve, and the conclusion."""
    return Group(
        Text.assemble((curve.study, "bold"), f": {_what(curve)}"),
        Text(curve.features.sentence()),
        Text(),
        _table(curve, columns),
        Text(),
        Text(curve.conclusion(), "bold"),
        *(Text(line, "yellow") for line in curve.notes),
        Text(
            "● does not differ from the best within error, ○ does. Each interval is for one value "
            "alone; the best of many is optimistic."
        ),
        Text(CAVEAT),
        Text(),
    )


def _what(curve: LambdaCurve) -> str:
    images = f"{curve.fit_images:,} training and {curve.val_images:,} validation images"
    kind = "seed" if curve.given_split else "split"
    heads = f"linear heads, {count(curve.repeats, kind)}, {count(curve.epochs, 'epoch')}"
    seconds = curve.feature_seconds + curve.head_seconds
    return f"{images}, {curve.num_classes} classes; {heads}; {seconds:.0f} s"


def _table(curve: LambdaCurve, columns: int) -> Table:
    value = METRICS[curve.metric].short
    headings = ("λ/N", "λ", f"{value} ± s.e.", "minus λ = 0 [95 %]")
    rows = [_numbers(point) for point in curve.points]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _PADDING, 0, 0))
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    taken = sum(_GAP + max(map(cell_len, cells)) for cells in zip(headings, *rows, strict=True))
    scale = None
    if columns - taken - _PADDING >= _NARROWEST:
        scale = _Scale(curve, min(_WIDEST, columns - taken - _PADDING))
        table.add_column("", no_wrap=True)
    for point, row in zip(curve.points, rows, strict=True):
        drawing = () if scale is None else (scale.row(point),)
        table.add_row(*row, *drawing, style="bold" if point is curve.best else "")
    return table


def _numbers(point: CurvePoint) -> tuple[str, ...]:
    return (
        f"{point.lambda_over_n:.3g}",
        f"{point.lambda_:.3g}",
        f"{point.value:.1f} ± {point.standard_error:.1f}",
        NOTHING if point.gain is None else _interval(point.gain),
    )


def _interval(gain: Difference) -> str:
    if gain.low is None or gain.high is None:
        return f"{_signed(gain.mean)} [no interval]"
    return f"{_signed(gain.mean)} [{_signed(gain.low)}, {_signed(gain.high)}]"


def _signed(points: float) -> str:
    return f"{round(points, 1) + 0.0:+.1f}"  # no -0.0


class _Scale:
    """Maps differences to λ = 0 to cells of a row of `width` cells."""

    def __init__(self, curve: LambdaCurve, width: int) -> None:
        ends = [0.0, *(end for point in curve.points for end in _ends(point))]
        self._low, span = min(ends), max(ends) - min(ends)
        self._cells_per_point = (width - 1) / span if span else 0.0
        self._width = width

    def _cell(self, difference: float) -> int:
        return round((difference - self._low) * self._cells_per_point)

    def row(self, point: CurvePoint) -> Text:
        """The interval as a line, the mean as a dot, λ = 0 as a vertical line."""
        cells = [" "] * self._width
        cells[self._cell(0.0)] = "│"
        ends = [self._cell(end) for end in _ends(point)]
        for cell in range(min(ends), max(ends) + 1):
            cells[cell] = "┼" if cells[cell] in "│┼" else "─"
        mean = 0.0 if point.gain is None else point.gain.mean
        cells[self._cell(mean)] = "●" if point.near_best else "○"
        return Text("".join(cells).rstrip(), "cyan")


def _ends(point: CurvePoint) -> Iterator[float]:
    gain = point.gain
    if gain is None:
        yield 0.0
        return
    yield gain.mean if gain.low is None else gain.low
    yield gain.mean if gain.high is None else gain.high
