"""All epochs of all trials as one tidy table: a row a trial and epoch, as CSV or Parquet."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from pcsearch.errors import UserError
from pcsearch.search.state import CampaignState
from pcsearch.search.trial import EpochResult, Trial

Row = dict[str, str | int | float | bool | None]

_LEADING: dict[str, type] = {
    "run": str,
    "study": str,
    "dataset": str,
    "backbone": str,
    "arm": str,
    "phase": str,
    "trial": str,
    "index": int,
    "variant": str,
    "source": str,
    "seed": int,
    "split": int,
    "state": str,
    "comparable": bool,
    "superseded": bool,
    "error": str,
    "budget_epochs": int,
    "epoch": int,
    "is_last": bool,
    "metric": str,
    "value": float,
    "seconds": float,
}
"""The columns that every table has, with their types. Others are hyperparameters (`config_`), the
measures of the epoch, and those on the test images (`test_`), all numbers."""


def epoch_rows(state: CampaignState, run: str) -> list[Row]:
    """A row for each epoch of each trial, in the order of the trials' start.

    A trial without a whole epoch has one row whose `epoch` is None, so that no trial is missing.
    `value` is the metric that decides, in percent, on validation images; None in confirm. The
    columns `test_...` are filled in the last epoch of a confirm trial.
    """
    aside = {trial.spec.trial for arm in state.arms.values() for trial in arm.earlier}
    return [
        row
        for trial in state.trials.values()
        for row in _rows(trial, run, state.plan.metric, superseded=trial.spec.trial in aside)
    ]


def _rows(trial: Trial, run: str, metric: str, *, superseded: bool) -> Iterator[Row]:
    spec = trial.spec
    dataset, backbone = spec.study.split("/", 1)
    config = {key: value for key, value in spec.config.items() if key not in ("seed", "split")}
    shared: Row = {
        "run": run,
        "study": spec.study,
        "dataset": dataset,
        "backbone": backbone,
        "arm": spec.arm,
        "phase": spec.phase,
        "trial": spec.trial,
        "index": spec.index,
        "variant": spec.variant,
        "source": spec.source,
        "seed": spec.config.get("seed"),
        "split": spec.config.get("split"),
        "state": trial.state,
        "comparable": trial.comparable,
        "superseded": superseded,
        "error": trial.error,
        "budget_epochs": spec.epochs,
        "metric": metric,
        **{f"config_{key}": value for key, value in config.items()},
    }
    results: list[EpochResult | None] = [*trial.epochs] or [None]
    for result in results:
        is_last = result is results[-1]
        row: Row = {**shared, "is_last": is_last, "epoch": None, "value": None, "seconds": None}
        if result is not None:
            row |= {"epoch": result.epoch, "value": result.value, "seconds": result.seconds}
            row |= dict(result.metrics)
        if is_last and trial.test is not None:
            row |= {f"test_{key}": value for key, value in trial.test.items()}
        yield row


def columns_of(rows: list[Row]) -> dict[str, type]:
    """Every column with its type, in the order of the table."""
    others = dict.fromkeys(key for row in rows for key in row if key not in _LEADING)
    first = [key for key in others if key.startswith("config_")]
    last = [key for key in others if key.startswith("test_")]
    middle = [key for key in others if key not in (*first, *last)]
    return {**_LEADING, **dict.fromkeys((*first, *middle, *last), float)}


def write_csv(rows: list[Row], file: IO[str]) -> None:
    """Write the table; an unknown value is an empty cell, a text is never a formula."""
    columns = list(columns_of(rows))
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)


def _cell(value: object) -> object:
    from pcsearch.data.layouts.manifest_table import as_text

    if isinstance(value, bool):
        return str(value).lower()
    return as_text(value) if isinstance(value, str) else value


def write_parquet(rows: list[Row], path: Path) -> None:
    """Write the table with a type for each column; unknown values are null.

    Raises:
        UserError: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise UserError(
            "--table parquet needs pyarrow: run `pip install pyarrow`, or take --table csv"
        ) from error
    kinds: dict[type, Any] = {
        str: pyarrow.string(),
        int: pyarrow.int64(),
        float: pyarrow.float64(),
        bool: pyarrow.bool_(),
    }
    columns = columns_of(rows)
    schema = pyarrow.schema([(name, kinds[kind]) for name, kind in columns.items()])
    table = pyarrow.table(
        {name: [_typed(row.get(name), kind) for row in rows] for name, kind in columns.items()},
        schema=schema,
    )
    parquet.write_table(table, path)


def _typed(value: object, kind: type) -> object:
    return None if value is None else kind(value)
