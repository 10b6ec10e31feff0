"""The trials of a campaign as tables, one a study."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pcsearch.results import formatting as fmt
from pcsearch.results.measuring import natural_width
from pcsearch.results.trial_cells import (
    STATES,
    Row,
    differing,
    hyperparameters,
    last_value,
    short_name,
    test_value,
)

_STYLES = {
    "COMPLETE": "green",
    "PRUNED": "dim",
    "DIVERGED": "red",
    "FAILED": "red",
    "RUNNING": "cyan",
}


def trials_table(rows: Sequence[Row], width: int) -> RenderableType:
    """A table a study with a line a trial, from the rows of `trial_rows`.

    Of the hyperparameters, λ is shown, and those that differ from trial to trial. Where a line
    is too narrow for everything, a trial takes two.

    Args:
        rows: What `trial_rows` tells of each trial.
        width: Columns of the terminal.
    """
    if not rows:
        return Text("no trials yet")
    studies = dict.fromkeys(row["study"] for row in rows)
    parts: list[RenderableType] = []
    for study in studies:
        parts += [
            Text(study, style="bold"),
            _study([r for r in rows if r["study"] == study], width),
        ]
        parts.append(Text())
    return Group(*parts[:-1])


def _study(rows: Sequence[Row], width: int) -> Table:
    table = _one_line(rows)
    return table if natural_width(table) <= width else _two_lines(rows)


def _one_line(rows: Sequence[Row]) -> Table:
    table = _table()
    for heading in ("arm", "trial", "state"):
        table.add_column(heading, overflow="fold")
    for heading in ("epochs", "last val\ntop-1", "test\ntop-1", "time"):
        table.add_column(heading, justify="right", overflow="fold")
    table.add_column("hyperparameters", overflow="fold")
    shown = differing(rows)
    for row in rows:
        table.add_row(
            fmt.label(row["arm"]),
            short_name(row),
            _state(row, ", "),
            str(len(row["epochs"])),
            last_value(row),
            test_value(row),
            fmt.duration(row["seconds"]),
            _hyperparameters(row, shown),
        )
    return table


def _two_lines(rows: Sequence[Row]) -> Table:
    table = _table()
    table.leading = 1
    for heading in ("trial\narm", "state"):
        table.add_column(heading, overflow="fold")
    for heading in ("epochs\ntime", "last val\ntest"):
        table.add_column(heading, justify="right", overflow="fold")
    table.add_column("hyperparameters", overflow="fold")
    shown = differing(rows)
    for row in rows:
        table.add_row(
            f"{short_name(row)}\n{fmt.label(row['arm'])}",
            _state(row, "\n"),
            f"{len(row['epochs'])}\n{fmt.duration(row['seconds'])}",
            f"{last_value(row)}\n{test_value(row)}".rstrip(),
            _hyperparameters(row, shown),
        )
    return table


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))


def _state(row: Row, between: str) -> Text:
    """How it is with the trial; whether what it confirms was chosen by a narrower search only."""
    state = Text(STATES[row["state"]], _STYLES[row["state"]])
    return Text.assemble(state, between, ("set aside", "dim")) if row["set_aside"] else state


def _hyperparameters(row: Row, shown: Sequence[str]) -> Text:
    text = Text(hyperparameters(row, shown))
    if row["error"]:
        text.append("\n" if text else "")
        text.append(fmt.first_line(row["error"]), style="red")
    return text
