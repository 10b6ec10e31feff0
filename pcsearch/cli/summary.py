"""`pcsearch summary`: print a run's table, at any time."""

from __future__ import annotations

import typer

from pcsearch.cli.attach import CHECKING
from pcsearch.cli.options import RUNS, Json, Run, Runs, examples

EPILOG = examples(
    "pcsearch summary",
    "pcsearch summary first-try",
    "pcsearch summary runs/first-try --json",
)


def summary(run: Run = None, runs: Runs = RUNS, as_json: Json = False) -> None:
    """Print a run's summary table, also while it runs."""
    from pcsearch.cli.console import console, print_summary, write_json
    from pcsearch.reporting.summary import summarise
    from pcsearch.runs.find import find_run, resume_command

    folder = find_run(run, runs)
    state = folder.state()
    if folder.url is not None and state.status == "running":
        typer.echo(CHECKING, err=True)
    result = summarise(state, folder.status(state))
    if as_json:
        write_json(result.to_json(), indent=2)
    else:
        print_summary(console(), result)
        if result.status == "interrupted":
            typer.echo(f"resume with: {resume_command(folder.address)}")
