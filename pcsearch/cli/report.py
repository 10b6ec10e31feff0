"""`pcsearch report`: a run as one HTML page."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from pcsearch.cli.options import RUNS, Run, Runs, examples
from pcsearch.errors import UserError

EPILOG = examples(
    "pcsearch report",
    "pcsearch report first-try --out first-try.html",
    "pcsearch report s3://my-bucket/runs/first-try --out - > first-try.html",
)
_Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FILE",
        dir_okay=False,
        help="File to write, - for standard output; by default report.html in the run folder, "
        "or RUN-report.html here for a run in an object store.",
        show_default=False,
    ),
]


def report(run: Run = None, out: _Out = None, runs: Runs = RUNS) -> None:
    """Write a run's report, one HTML page, also while it runs.

    A report replaces an earlier one. Any other file is refused, never overwritten.

    It shows the summary and its notes. For each study it shows the arms, the trials by epoch and by
    λ, and the confirm trials seed by seed. It has what is needed to repeat the run: the recipe and
    the command line, including their paths. The page needs no network and no other file, so you can
    send it to others.
    """
    from pcsearch.io import replacing
    from pcsearch.reporting.html import html_report, is_report
    from pcsearch.runs.find import find_run

    folder = find_run(run, runs)
    state = folder.state()
    if folder.url is not None and state.status == "running":
        typer.echo("checking whether a process still runs it: up to 30 s", err=True)
    status = folder.status(state)
    page = html_report(folder, state, status).encode("utf-8", "replace")
    if out == Path("-"):
        sys.stdout.buffer.write(page)
        return
    remote = folder.url is not None
    path = out or (Path(f"{folder.name}-report.html") if remote else folder.path / "report.html")
    if out is not None and not out.parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.parent}")
    named = path if out is None else out.resolve()  # follow a link that the user names
    if named.is_file() and not named.is_symlink() and not is_report(named):
        raise UserError(f"{path} exists and is no report; choose another file with --out FILE")
    try:
        if named.exists() and not named.is_file():  # do not replace a pipe or a device
            named.write_bytes(page)
        else:
            with replacing(named) as temporary:
                temporary.write_bytes(page)
                if out is not None and named.is_file():
                    shutil.copymode(named, temporary)
    except OSError as error:
        elsewhere = "; choose another file with --out FILE" if out is None else ""
        raise UserError(f"{path} cannot be written: {error.strerror}{elsewhere}") from error
    typer.echo(f"{path}: written ({status})", err=not named.is_file())
