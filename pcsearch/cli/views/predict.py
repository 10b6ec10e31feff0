"""Shows predictions: two lines an image, then how they agree with labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pcsearch.printable import printable

if TYPE_CHECKING:
    from pcsearch.execution.predict import LabelCheck, Prediction, Predictions


_INDENT, _GAP = "   ", "   "


def prediction_view(result: Predictions, columns: int, *, confusion: bool) -> RenderableType:
    """Which network answers, the answers, notes and the accuracy."""
    parts: list[RenderableType] = [Text(result.why), Text()]
    for one in result.predictions:
        parts += _answer(one, columns)
    parts.append(Text())
    if result.labels is not None:
        if confusion:
            parts += [_confusion(result.labels), Text()]
        parts.append(Text(result.labels.sentence(), "bold"))
    parts += [Text(line, "yellow") for line in result.notes]
    return Group(*parts)


def _answer(one: Prediction, columns: int) -> Iterator[RenderableType]:
    if one.error is not None:
        yield Text.assemble((one.file, "bold"))
        yield Padding(Text(f"cannot be read: {one.error}", "red"), (0, 0, 0, 3), expand=False)
        return
    wrong = Text(f"  labelled {one.label}", "red") if one.is_right is False else Text()
    yield Text.assemble((one.file, "bold"), wrong)
    line = ""
    for name, p in one.top:
        item = f"{100 * p:.1f} % {printable(name)}"
        if line and cell_len(_INDENT + line + _GAP + item) > columns:
            yield Text(_INDENT + line)
            line = ""
        line += (_GAP if line else "") + item
    yield Text(_INDENT + line)


def _confusion(labels: LabelCheck) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("label", overflow="fold")
    table.add_column("right", justify="right", no_wrap=True)
    table.add_column("taken for", overflow="fold")
    for label, row in labels.rows().items():
        right, images = row.get(label, 0), sum(row.values())
        others = [f"{name} {number}" for name, number in row.items() if name != label]
        table.add_row(Text(label), f"{right} of {images}", Text(", ".join(others)))
    return table
