"""How much room a table would take."""

from __future__ import annotations

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table


def natural_width(table: Table) -> int:
    """Columns of a terminal in which nothing of it is folded."""
    console = Console(width=10_000, markup=False, emoji=False)
    return Measurement.get(console, console.options, table).maximum
