"""`pcsearch runs`: list runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import typer

from pcsearch.cli.options import RUNS, Json, Runs, examples
from pcsearch.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

    from pcsearch.reporting.summary_types import Summary
    from pcsearch.runs.folder import RunFolder

app = typer.Typer(no_args_is_help=True, help="List runs.")


@app.command("ls", epilog=examples("pcsearch runs ls", "pcsearch runs ls --runs /data/runs"))
def list_command(runs: Runs = RUNS, as_json: Json = False) -> None:
    """List runs, the most recently active first.

    Shows status, time since the start, studies and the gain (the largest of several).
    """
    from pcsearch.cli.console import console, write_json
    from pcsearch.runs.find import list_runs
    from pcsearch.runs.folder import at

    rows = [_row(folder, time.time()) for folder in list_runs(runs)]
    if as_json:
        write_json(rows, indent=2)
    elif rows:
        console().print(_table(rows))
    else:
        typer.echo(
            f'there are no runs under "{runs}"; start one with: pcsearch tune quickstart{at(runs)}'
        )


def _row(folder: RunFolder, now: float) -> dict[str, Any]:
    from pcsearch.reporting.summary import summarise

    row: dict[str, Any] = {"name": folder.name, "path": str(folder.address)}
    try:
        state = folder.state()
    except UserError as error:  # one damaged run must not hide the others
        unknown = {"age_seconds": None, "studies": None, "best_gain": None, "mismatches": None}
        return row | {"status": "unreadable", "gains": 0, **unknown, "error": str(error)}
    summary = summarise(state, folder.status(state, quick=True))
    gains = _gains(summary)
    return row | {
        "status": summary.status,
        "age_seconds": round(max(0.0, now - folder.created())),
        "studies": [study.id for study in summary.studies],
        "gains": len(gains),
        "best_gain": max(gains, key=lambda gain: gain["mean"], default=None),
        "mismatches": len(summary.mismatches),
        "error": None,
    }


def _gains(summary: Summary) -> list[dict[str, Any]]:
    return [
        {
            "study": study.id,
            "arm": name,
            **arm.gain.to_json(),
            "verdict": arm.verdict.word if arm.verdict else None,
        }
        for study in summary.studies
        for name, arm in study.arms.items()
        if arm.gain is not None
    ]


def _table(rows: list[dict[str, Any]]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from pcsearch.cli.views.text import NOTHING, age

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("name", no_wrap=True)
    for heading in ("status", "age"):
        table.add_column(heading, no_wrap=True)
    table.add_column("studies", justify="right", no_wrap=True)
    table.add_column("gain")
    for row in rows:
        began, studies = row["age_seconds"], row["studies"]
        table.add_row(
            row["name"],
            row["status"],
            NOTHING if began is None else age(began),
            NOTHING if studies is None else str(len(studies)),
            Text(row["error"] or _mismatches(row) + _best_of(row) + _gain_text(row["best_gain"])),
        )
    return table


def _mismatches(row: dict[str, Any]) -> str:
    count = row["mismatches"]
    places = "1 place" if count == 1 else f"{count} places"
    return f"journal contradicts itself in {places}: " if count else ""


def _best_of(row: dict[str, Any]) -> str:
    return f"best of {row['gains']}: " if row["gains"] > 1 else ""


def _gain_text(gain: dict[str, Any] | None) -> str:
    from pcsearch.cli.views.text import NOTHING
    from pcsearch.reporting.formatting import points

    if gain is None:
        return NOTHING
    mean, low, high = (
        None if gain[key] is None else points(gain[key], decimals=1)
        for key in ("mean", "low", "high")
    )
    interval = "" if low is None else f" [{low}, {high}]"
    verdict = f": {gain['verdict']}" if gain["verdict"] else ""
    return f"{mean}{interval}{verdict} ({gain['arm']}, {gain['study']})"
