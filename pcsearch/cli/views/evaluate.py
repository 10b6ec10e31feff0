"""Shows how networks do on a second set: all images, then class by class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pcsearch.cli.views.text import count
from pcsearch.reporting.formatting import label

if TYPE_CHECKING:
    from pcsearch.execution.evaluate_set import SetEvaluation

_MOST_CLASSES = 30
"""Of more classes, only those that a network knows worst are shown."""


def evaluation_view(result: SetEvaluation) -> RenderableType:
    """The accuracies, their differences, the classes, and notes."""
    classes = f"{len(result.classes):,} of {result.num_classes:,} classes"
    head = f": {count(result.images, 'image')} of {classes}, study {result.study}"
    return Group(
        Text.assemble((result.set, "bold"), head),
        Text(),
        _arms(result),
        Text(),
        *(Text(one.sentence(), "bold") for one in result.differences),
        *([Text()] if result.differences else []),
        _classes(result),
        Text(),
        *(Text(line, "yellow") for line in result.notes),
    )


def _table(first: str, *numbers: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(first, overflow="fold")
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _arms(result: SetEvaluation) -> Table:
    table = _table("network", "right", "accuracy [95 %]")
    for one in result.arms:
        right = f"{one.accuracy.hits:,} of {one.accuracy.images:,}"
        table.add_row(label(one.arm), right, one.accuracy.text())
    return table


def _classes(result: SetEvaluation) -> Table:
    order = range(len(result.classes))
    heading = "class"
    if len(result.classes) > _MOST_CLASSES:
        worst = {at: min(one.per_class[at].percent for one in result.arms) for at in order}
        chosen = sorted(order, key=lambda at: worst[at])[:_MOST_CLASSES]
        heading = f"the {_MOST_CLASSES} worst classes (--json has all)"
    else:
        chosen = list(order)
    table = _table(heading, "images", *(f"{label(one.arm)} %" for one in result.arms))
    for at in chosen:
        shares = [one.per_class[at] for one in result.arms]
        cells = [f"{found.percent:.1f}" for found in shares]
        table.add_row(Text(result.classes[at]), f"{shares[0].images:,}", *cells)
    return table
