"""What tables say of one trial, piece by piece, from the rows of `summary.trial_rows`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pcsearch.results import formatting as fmt

Row = Mapping[str, Any]
STATES = {
    "COMPLETE": "complete",
    "PRUNED": "stopped early",
    "DIVERGED": "diverged",
    "FAILED": "failed",
    "RUNNING": "running",
}
_NOT_SHOWN = ("lambda", "lambda_over_n", "seed", "split")


def short_name(row: Row) -> str:
    """The trial's name without its study and arm, which a table states apart."""
    return str(row["trial"]).removeprefix(f"{row['study']}/{row['arm']}/")


def last_value(row: Row) -> str:
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
    """The hyperparameters, other than λ, that are not the same in all of these trials."""
    keys = dict.fromkeys(key for row in rows for key in row["config"] if key not in _NOT_SHOWN)
    return [key for key in keys if len({row["config"].get(key) for row in rows}) > 1]


def value_text(value: object) -> str:
    """A hyperparameter's value."""
    return fmt.significant(value) if isinstance(value, float) else str(value)
