"""The command line: every command in one place, and how mistakes are told."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Annotated

import typer

from pcsearch.cli import (
    ctrl_c,
    plan,
    probe,
    recipes,
    report,
    resume,
    runs,
    simulate,
    summary,
    trials,
    tune,
)
from pcsearch.cli.cluster import app as cluster
from pcsearch.cli.data import app as data
from pcsearch.cli.options import examples, register
from pcsearch.errors import PcsearchError, UserError

EXIT_MISTAKE, EXIT_LOST = 2, 3

app = typer.Typer(
    name="pcsearch",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from pcsearch import __version__

        typer.echo(f"pcsearch {__version__}")
        raise typer.Exit


@app.callback(
    epilog=examples(
        "pcsearch tune quickstart",
        "pcsearch tune --images ~/birds",
        "pcsearch plan cub200 --seconds-per-epoch 60",
        "pcsearch summary",
    )
)
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Fine-tune image backbones with Pairwise Confusion, search its weight λ honestly, and see
    whether it helped."""
    ctrl_c.usual()


register(app, "tune", tune.tune, tune.EPILOG)
register(app, "resume", resume.resume, resume.EPILOG)
register(app, "plan", plan.plan, plan.EPILOG)
register(app, "probe", probe.probe, probe.EPILOG)
register(app, "simulate", simulate.simulate, simulate.EPILOG)
register(app, "summary", summary.summary, summary.EPILOG)
register(app, "trials", trials.trials, trials.EPILOG)
register(app, "report", report.report, report.EPILOG)
app.add_typer(data.app, name="data")
app.add_typer(runs.app, name="runs")
app.add_typer(cluster.app, name="cluster")
app.add_typer(recipes.app, name="recipes")


def main() -> None:
    """Run the command line; never returns. A user's mistake is one message and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without λ is no reason to fail
    try:
        app()
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(EXIT_MISTAKE)
    except PcsearchError as error:  # a store that went away, or another who goes on with the run
        sys.stderr.write(f"error: {error}\n")
        sys.exit(EXIT_LOST)
    except OSError as error:
        if error.filename is not None:  # a file or a folder of the user's
            sys.stderr.write(f"error: {error.filename}: {error.strerror}\n")
            sys.exit(EXIT_MISTAKE)
        if error.errno not in (errno.ENOSPC, errno.EPIPE):
            raise
        sys.stderr.write(f"error: the output could not be written: {error.strerror}\n")
        os._exit(1)  # at a usual exit, Python would try to write the rest once more
