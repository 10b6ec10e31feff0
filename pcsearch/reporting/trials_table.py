"""The trials of a campaign as tables, one per study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pcsearch.reporting import formatting as fmt
from pcsearch.reporting.formatting import natural_width

Row = Mapping[str, Any]
STATES = {
    "COMPLETE": "complete",
    "PRUNED": "stopped early",
    "DIVERGED": "diverged",
    "FAILED": "failed",
    "RUNNING": "running",
    "INTERRUPTED": "interrupted",
}
_NOT_SHOWN = ("lambda", "lambda_over_n", "seed", "split")


def short_name(row: Row) -> str:
    """The trial's name without its study and arm, which a table shows separately."""
    return str(row["trial"]).removeprefix(f"{row['study']}/{row['arm']}/")


def last_value_text(row: Row) -> str:
    """The metric of its last epoch."""
    epochs = row["epochs"]
    return fmt.percent(epochs[-1][1] if epochs else None)


def test_value(row: Row) -> str:
    """The metric of a confirm trial on the test images; empty for others."""
    return "" if row["test_value"] is None else fmt.percent(row["test_value"])


def hyperparameters(row: Row, shown: Sequence[str]) -> str:
    """λ, and those of the keys `shown` that the trial has."""
    config = row["config"]
    parts = []
    if config.get("lambda"):
        fraction = config.get("lambda_over_n")
        of_n = f" ({fmt.significant(fraction)}·N)" if fraction else ""
        parts.append(f"λ={fmt.significant(config['lambda'])}{of_n}")
    parts += [f"{key}={value_text(config[key])}" for key in shown if key in config]
    if row["phase"] == "confirm":
        parts.append(f"seed={config['seed']}")
    return ", ".join(parts)


def differing(rows: Sequence[Row]) -> list[str]:
    """The hyperparameters other than λ that differ between these trials."""
    keys = dict.fromkeys(key for row in rows for key in row["config"] if key not in _NOT_SHOWN)
    return [key for key in keys if len({row["config"].get(key) for row in rows}) > 1]


def value_text(value: object) -> str:
    """A hyperparameter's value."""
    return fmt.significant(value) if isinstance(value, float) else str(value)


_STYLES = {
    "COMPLETE": "green",
    "PRUNED": "dim",
    "DIVERGED": "red",
    "FAILED": "red",
    "RUNNING": "cyan",
    "INTERRUPTED": "yellow",
}


def shown_rows(rows: Sequence[Row], *, running: bool) -> list[Row]:
    """The rows for people: unless the run is running, nobody trains its unended trials."""
    unended = "RUNNING" if running else "INTERRUPTED"
    return [{**row, "state": unended} if row["state"] == "RUNNING" else row for row in rows]


def trials_table(rows: Sequence[Row], width: int) -> RenderableType:
    """One table per study, with a line per trial.

    It shows λ and the hyperparameters that differ between trials. On a narrow terminal, a trial
    takes two lines.

    Args:
        rows: From `trial_rows`, or `shown_rows`.
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
            last_value_text(row),
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
            f"{last_value_text(row)}\n{test_value(row)}".rstrip(),
            _hyperparameters(row, shown),
        )
    return table


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))


def _state(row: Row, between: str) -> Text:
    """The trial's state; "superseded" if it confirms a choice made before the search widened."""
    state = Text(STATES[row["state"]], _STYLES[row["state"]])
    return Text.assemble(state, between, ("superseded", "dim")) if row["set_aside"] else state


def _hyperparameters(row: Row, shown: Sequence[str]) -> Text:
    text = Text(hyperparameters(row, shown))
    if row["error"]:
        text.append("\n" if text else "")
        text.append(fmt.first_line(row["error"]), style="red")
    return text
