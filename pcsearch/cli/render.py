"""Printing a campaign's summary, for `tune` and `summary`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from pcsearch.results.objects import Summary


def print_summary(console: Console, summary: Summary) -> None:
    """The table of studies and the notes on it."""
    from pcsearch.results.tables import summary_table

    console.print(summary_table(summary, console.width))
    for note in summary.notes:
        console.print(Text(note))
