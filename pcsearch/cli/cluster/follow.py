"""Follow a campaign on a cluster: `attach`, `logs`, and the end of `submit`."""

from __future__ import annotations

import shlex
import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pcsearch.cli.attach import left
from pcsearch.cli.cluster.options import Cluster, JobArgument
from pcsearch.cli.options import Plain, examples

if TYPE_CHECKING:
    from pcsearch.cluster.follow import Following

_EXIT_DETACHED = 130
_EXIT_NOT_FOUND = 127

ATTACH_EPILOG = examples(
    "pcsearch cluster attach cluster.yaml",
    "pcsearch cluster attach http://127.0.0.1:8265 pcsearch-cub200-3f2a9c --plain",
)
LOGS_EPILOG = examples(
    "pcsearch cluster logs cluster.yaml",
    "pcsearch cluster logs cluster.yaml pcsearch-cub200-3f2a9c --raw > log.txt",
)


def attach(cluster: Cluster, job: JobArgument = None, plain: Plain = False) -> None:
    """Follow a campaign on a cluster, with the same live view and table as a local one.

    For a campaign that has ended, it prints the table. Ctrl-C stops following, not the campaign. A
    lost connection is retried for two minutes.

    Exit codes: the campaign's, as for pcsearch tune; 130 after Ctrl-C, 3 if the connection is lost.
    """
    from pcsearch.cluster.follow import Following

    raise watch(cluster, Following(cluster, job), plain=plain)


def logs(
    cluster: Cluster,
    job: JobArgument = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Print the job's own output, a JSON object per event.")
    ] = False,
) -> None:
    """Print a campaign's log so far, a line for each ended trial.

    Errors and other output of its process go to standard error.
    """
    from pcsearch.cli.views.plain import PlainLines
    from pcsearch.cluster.follow import follow
    from pcsearch.cluster.jobs import Jobs
    from pcsearch.cluster.tunnel import dashboard_of

    with dashboard_of(cluster) as address:
        jobs = Jobs(address)
        text = jobs.log(jobs.find_submitted(job).id)
    if raw:
        sys.stdout.write(text)
        return
    for _ in follow(text.split("\n"), PlainLines(sys.stdout), _say, cluster):
        pass


def watch(cluster: str, following: Following, *, plain: bool, events: bool = False) -> typer.Exit:
    """Follow until the campaign ends, or Ctrl-C; returns the exit with its code."""
    from pcsearch.cli.console import Watch
    from pcsearch.cluster.follow import follow

    with Watch(plain=plain, events=events) as view:
        lines = following.lines(lambda: view.observer.noted("the connection is lost; retrying"))
        try:
            for followed in follow(lines, view.observer, _say, cluster):
                view.ended(followed)
            detached = False
        except KeyboardInterrupt:
            detached = True
    if detached:
        typer.echo(
            left(
                following.attach_command,
                f"pcsearch cluster stop {shlex.quote(cluster)} {following.job.id}",
            ),
            err=events,
        )
        return typer.Exit(_EXIT_DETACHED)
    job = following.job
    if job.exit_code == _EXIT_NOT_FOUND:
        typer.echo(
            "error: the head finds no `pcsearch`; its setup commands must install it, and its "
            "folder must be on the PATH of `ray start`",
            err=True,
        )
    if (killed := _killed_by(job.exit_code)) is not None:
        typer.echo(
            f"error: {killed.name} ended the campaign's process on the head; finished work is "
            f"kept. Resume with: {following.resume_command}",
            err=True,
        )
        return typer.Exit(128 + killed)
    if job.exit_code is not None:
        return typer.Exit(job.exit_code)
    if job.status != "SUCCEEDED" and view.exit_code == 0:
        typer.echo(f"error: {job.id} {job.status.lower()}: {job.message}", err=True)
        return typer.Exit(1)
    return typer.Exit(view.exit_code)


def _killed_by(exit_code: int | None) -> signal.Signals | None:
    """The signal that suddenly ended a process, directly or below a shell."""
    number = abs(exit_code or 0) % 128
    sudden = (signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT)
    ended = exit_code is not None and (exit_code < 0 or exit_code > 128)
    return signal.Signals(number) if ended and number in sudden else None


def _say(line: str) -> None:
    ray = line.startswith("Running entrypoint for job ") or "INFO job_manager.py:" in line
    if line.strip() and not ray:
        told = line.removeprefix("error: ")
        typer.echo(line if told == line else f"error, on the cluster: {told}", err=True)
