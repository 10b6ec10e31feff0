"""`pcsearch summary`: print a run's table, at any time."""

from __future__ import annotations

from typing import Annotated

import typer

from pcsearch.cli.attach import CHECKING
from pcsearch.cli.options import RUNS, Json, Run, Runs, examples
from pcsearch.errors import UserError

EPILOG = examples(
    "pcsearch summary",
    "pcsearch summary first-try",
    "pcsearch summary first-try --classes",
    "pcsearch summary runs/first-try --json",
    "pcsearch summary first-try --csv > results.csv",
)
_Classes = Annotated[
    bool,
    typer.Option(
        "--classes",
        help="Print what the predictions say: classes that differ between the arms, the most "
        "confused pairs, McNemar's test by seed, top-5, likelihood, calibration, D_EC.",
    ),
]


Markdown = Annotated[bool, typer.Option("--markdown", help="Print all arms as Markdown.")]
Latex = Annotated[bool, typer.Option("--latex", help="Print all arms as LaTeX, with booktabs.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print all arms as CSV, with all digits.")]


def summary(
    run: Run = None,
    classes: _Classes = False,
    runs: Runs = RUNS,
    as_json: Json = False,
    markdown: Markdown = False,
    latex: Latex = False,
    as_csv: Csv = False,
) -> None:
    """Print a run's summary table, also while it runs.

    With --classes, it is an analysis of the predictions for the test images. A temperature is
    fitted to validation images of each arm's finalists. --json has table and analysis. While a
    campaign in a bucket runs, --json has the analysis only with --classes.
    """
    asked = {"json": as_json, "markdown": markdown, "latex": latex, "csv": as_csv}
    forms = [name for name, wanted in asked.items() if wanted]
    if len(forms) > 1:
        both = " and ".join(f"--{name}" for name in forms)
        raise UserError(f"{both} were given: choose one of them")
    from pcsearch.cli.console import console, print_summary, write_json
    from pcsearch.reporting.summary import summarise
    from pcsearch.runs.find import find_run, resume_command

    folder = find_run(run, runs)
    state = folder.state()
    if folder.url is not None and state.status == "running":
        typer.echo(CHECKING, err=True)
    polled = folder.url is not None and state.status == "running"  # do not fetch files each time
    read = folder.read_bytes if classes or (as_json and not polled) else None
    result = summarise(state, folder.status(state), read)
    if as_json:
        write_json(result.to_json(), indent=2)
    elif forms:
        from pcsearch.reporting.result_rows import formatted

        typer.echo(formatted(result, forms[0]), nl=False)  # type: ignore[arg-type]
    elif classes:
        from pcsearch.reporting.analysis_tables import analysis_tables

        console().print(analysis_tables(result))
    else:
        print_summary(console(), result)
        if result.status == "interrupted":
            typer.echo(f"resume with: {resume_command(folder.address)}")
