"""The command line: registers every command and reports errors."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from pcsearch.cli import (
    attach,
    audit,
    compare,
    ctrl_c,
    evaluate,
    export,
    plan,
    predict,
    probe,
    recipes,
    report,
    resume,
    runs,
    show,
    simulate,
    summary,
    trials,
    tune,
)
from pcsearch.cli.cluster import app as cluster
from pcsearch.cli.console import guard_streams, say
from pcsearch.cli.ctrl_c import note_of
from pcsearch.cli.data import app as data
from pcsearch.cli.options import examples, register
from pcsearch.errors import PcsearchError, UserError
from pcsearch.io import home_folder
from pcsearch.printable import printable_lines

EXIT_MISTAKE, EXIT_LOST = 2, 3
EXIT_CLOSED_PIPE = 128 + signal.SIGPIPE
"""As of other tools whose output goes to `head`."""


class Commands(TyperGroup):
    """All commands. Usage errors repeat arguments, so their messages are made printable."""

    def invoke(self, ctx: Any) -> Any:
        with _printable_mistakes():
            return super().invoke(ctx)

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with _printable_mistakes():
            return super().make_context(*args, **kwargs)


@contextlib.contextmanager
def _printable_mistakes() -> Iterator[None]:
    try:
        yield
    except TyperException as error:
        if isinstance(message := getattr(error, "message", None), str):
            error.message = printable_lines(message)
        raise


app = typer.Typer(
    name="pcsearch",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from pcsearch.version import __version__

        typer.echo(f"pcsearch {__version__}")
        raise typer.Exit


@app.callback(
    epilog=examples(
        "pcsearch tune quickstart",
        "pcsearch tune --images ~/birds",
        "pcsearch plan cub200",
        "pcsearch summary",
    )
)
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Fine-tune image backbones with Pairwise Confusion, search its weight λ, and see whether it
    helped."""
    ctrl_c.usual()


register(app, "tune", tune.tune, tune.EPILOG)
register(app, "resume", resume.resume, resume.EPILOG)
register(app, "attach", attach.attach, attach.ATTACH_EPILOG)
register(app, "stop", attach.stop, attach.STOP_EPILOG)
register(app, "plan", plan.plan, plan.EPILOG)
register(app, "probe", probe.probe, probe.EPILOG)
register(app, "simulate", simulate.simulate, simulate.EPILOG)
register(app, "summary", summary.summary, summary.EPILOG)
register(app, "trials", trials.trials, trials.EPILOG)
register(app, "show", show.show, show.EPILOG)
register(app, "compare", compare.compare, compare.EPILOG)
register(app, "audit", audit.audit, audit.EPILOG)
register(app, "report", report.report, report.EPILOG)
register(app, "predict", predict.predict, predict.EPILOG)
register(app, "evaluate", evaluate.evaluate, evaluate.EPILOG)
register(app, "export", export.export, export.EPILOG)
app.add_typer(data.app, name="data")
app.add_typer(runs.app, name="runs")
app.add_typer(cluster.app, name="cluster")
app.add_typer(recipes.app, name="recipes")


def main() -> None:
    """Run the command line; never returns. A user error is one message and exit code 2."""
    guard_streams()
    os.environ.setdefault("HOME", str(home_folder()))  # PyTorch and Ray would use a folder "~"
    if not os.environ.get("COLUMNS", "").strip("0"):  # some terminals have not measured it yet
        os.environ.pop("COLUMNS", None)
    try:
        try:
            app(prog_name="pcsearch")  # also as python -m pcsearch, which no shell completes
        except SystemExit as error:
            if error.code == _EXIT_HANGUP:
                _discard_output()
            raise
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # later, an error would get another exit code
    except UserError as error:
        say(f"error: {error}")
        sys.exit(EXIT_MISTAKE)
    except PcsearchError as error:  # a lost store, or another process continues the run
        say(f"error: {error}")
        sys.exit(EXIT_LOST)
    except (SystemExit, BrokenPipeError) as error:
        if not _closed_pipe(error):
            raise
        if note := note_of(error):
            say(f"error: nobody reads the output any more; {note}")
        os._exit(EXIT_CLOSED_PIPE)  # a normal exit would try to write the rest again
    except OSError as error:
        if error.filename is not None:  # a user's file or folder
            say(f"error: {error.filename}: {error.strerror}")
            sys.exit(EXIT_MISTAKE)
        if error.errno != errno.ENOSPC:
            raise
        say(f"error: the output could not be written: {error.strerror}")
        os._exit(EXIT_MISTAKE)


_EXIT_HANGUP = 128 + signal.SIGHUP


def _discard_output() -> None:
    """From now on, nothing is written: the terminal is gone, and an error would be another exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)


def _closed_pipe(error: BaseException | None) -> bool:
    """Whether nobody reads the output any more. Typer and Rich turn this into an exit."""
    while isinstance(error, SystemExit) and error.code == 1:
        error = error.__context__
    return isinstance(error, BrokenPipeError)
