"""`pcsearch attach` and `pcsearch stop`: follow or end a campaign that another process runs."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from pcsearch.cli import completion, ctrl_c
from pcsearch.cli.options import RUNS, Plain, Runs, examples
from pcsearch.errors import UserError

if TYPE_CHECKING:
    from pcsearch.runs.folder import RunFolder

ATTACH_EPILOG = examples("pcsearch attach", "pcsearch attach first-try --plain")
STOP_EPILOG = examples("pcsearch stop", "pcsearch stop first-try")
_EXIT_GONE = 3
_STOP_SECONDS = 120.0

Run = Annotated[
    str | None,
    typer.Argument(
        metavar="[RUN]",
        help="Folder or s3:// address of a run, or its name under --runs; by default the latest "
        "run that a process runs.",
        show_default=False,
        autocompletion=completion.running_runs,
    ),
]


def attach(run: Run = None, runs: Runs = RUNS, plain: Plain = False) -> None:
    """Follow a campaign that runs on its own or in another terminal: the live view, then the table.

    For a campaign that has ended, it prints the table. Ctrl-C stops following, not the campaign.

    Exit codes: 0 done, 1 finished with failed studies, 130 interrupted, or Ctrl-C here; 3 the
    campaign's process is gone without an end.
    """
    from pcsearch.runs.find import find_run

    raise watch_run(find_run(run, runs) if run else _latest(runs), plain=plain)


def watch_run(folder: RunFolder, *, plain: bool) -> typer.Exit:
    """Follow until the campaign ends, or Ctrl-C; returns the exit with its code."""
    from pcsearch.cli.console import Watch
    from pcsearch.cluster.follow import follow
    from pcsearch.execution.follow_run import run_lines
    from pcsearch.reporting.summary import summarise

    told = folder.state().status  # audited: a damaged journal has its message here
    if folder.url is not None and told == "running":
        typer.echo(CHECKING, err=True)
    gone = detached = False
    with Watch(plain=plain) as view:
        try:
            for followed in follow(run_lines(folder), view.observer, typer.echo, None):
                gone = followed.state.status == "running"
                state = folder.state()
                status = "interrupted" if gone else state.status
                view.ended(replace(followed, summary=summarise(state, status)))
        except KeyboardInterrupt:
            detached = True
    if detached:
        typer.echo(left(*commands(folder)))
        return typer.Exit(ctrl_c.EXIT_INTERRUPTED)
    if gone:
        typer.echo(f"error: {_gone(folder)}", err=True)
        return typer.Exit(_EXIT_GONE)
    return typer.Exit(view.exit_code)


CHECKING = "checking whether a process still runs it: up to 30 s"


def left(attach_command: str, stop_command: str) -> str:
    """What to say after Ctrl-C of a command that only follows."""
    return (
        f"no longer following; the campaign continues\n"
        f"Follow it again with: {attach_command}\n"
        f"Stop it with: {stop_command}"
    )


def commands(folder: RunFolder) -> tuple[str, str]:
    """The commands that follow and stop a run's campaign."""
    from pcsearch.runs.folder import shown_address

    run = shlex.quote(shown_address(folder.address))
    return f"pcsearch attach {run}", f"pcsearch stop {run}"


def _gone(folder: RunFolder) -> str:
    from pcsearch.runs.folder import shown_address

    driver = folder.driver()
    who = "the campaign's process" if driver is None else f"the campaign's {driver}"
    log = folder.path / "output.log"
    wrote = (
        f"\nits output is in {shown_address(log)}" if folder.url is None and log.is_file() else ""
    )
    return f"{who} is gone without an end; finished work is kept{wrote}"


def stop(run: Run = None, runs: Runs = RUNS) -> None:
    """Stop a campaign as Ctrl-C does: nothing new starts, trials have 5 s to end their epoch.

    Waits until the campaign has ended. Stops only a process of yours on this machine. A second
    stop ends a campaign at once: trials repeat the epochs since their last checkpoint when it
    resumes.
    """
    from pcsearch.runs.find import find_run, resume_command
    from pcsearch.runs.folder import at, shown_address
    from pcsearch.search.observer import STOPPING_THERE

    folder = find_run(run, runs, begun=False) if run else _latest(runs)
    if run is None and not folder.is_held(quick=True):
        raise UserError(
            f'no run under "{runs}" is running; `pcsearch runs ls{at(runs)}` lists them'
        )
    shown = shown_address(folder.address)
    if folder.url is not None:
        typer.echo(CHECKING, err=True)
    if not folder.is_held():
        status = folder.status() if folder.has_begun else "interrupted"
        again = "" if status == "complete" else f"; resume with: {resume_command(folder.address)}"
        raise UserError(f"{shown} is not running: it is {status}{again}")
    driver = folder.driver()
    if driver is None:
        raise UserError(
            f"{shown} is running, but driver.json does not name its process; press Ctrl-C "
            "in its terminal"
        )
    driver.interrupt(folder.lock)
    typer.echo(f"{driver}: {STOPPING_THERE}", err=True)
    if not driver.wait(_STOP_SECONDS):
        raise UserError(
            f"{driver} still runs {_STOP_SECONDS:.0f} s after the request to stop; a second "
            "`pcsearch stop` ends it at once"
        )
    status = folder.status(quick=True) if folder.has_begun else "interrupted"
    typer.echo(f"{shown}: {status}")
    if status == "interrupted":
        typer.echo(f"resume with: {resume_command(folder.address)}")


def _latest(runs: str) -> RunFolder:
    """The latest run that a process runs; without one, the latest."""
    from pcsearch.runs.find import find_run, list_runs

    running = (folder for folder in list_runs(runs) if folder.is_held(quick=True))
    return next(running, None) or find_run(None, runs)
