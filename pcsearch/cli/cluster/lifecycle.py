"""`pcsearch cluster up`, `stop` and `down`: start and end machines and campaigns."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pcsearch.cli import completion, ctrl_c
from pcsearch.cli.cluster.check import findings_of, print_findings, refuse_problems
from pcsearch.cli.cluster.options import Cluster, File, JobArgument, Price, Yes
from pcsearch.cli.options import examples
from pcsearch.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from pcsearch.cluster import jobs

UP_EPILOG = examples(
    "pcsearch cluster up cluster.yaml cub200 data.root=/home/ubuntu/data",
    "pcsearch cluster up cluster.yaml --yes",
)
STOP_EPILOG = examples(
    "pcsearch cluster stop cluster.yaml",
    "pcsearch cluster stop cluster.yaml pcsearch-cub200-3f2a9c",
)
DOWN_EPILOG = examples(
    "pcsearch cluster down cluster.yaml", "pcsearch cluster down cluster.yaml --yes --force"
)


def up(
    file: File,
    recipes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RECIPE... [KEY=VALUE]...",
            help="Recipes to run there; used by the check.",
            show_default=False,
            autocompletion=completion.recipes_and_keys,
        ),
    ] = None,
    runs: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where to store runs: s3://..., or a folder that all nodes share; used by the "
            "check.",
        ),
    ] = None,
    price: Price = None,
    yes: Yes = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Start even if a campaign runs, or may run; this interrupts it.",
        ),
    ] = False,
) -> None:
    """Check a cluster file, ask, and start the head; workers start when trials wait.

    The findings of pcsearch cluster check come first, and a problem ends the command. If the
    cluster is up, the changes of its file are applied, which restarts Ray. Needs rsync and ssh.
    """
    from pcsearch.cluster import launcher as launch

    with ctrl_c.told_as(ctrl_c.BEFORE_START) as told:
        path = launch.check_is_file(file, "cluster up")
        findings = findings_of(path, recipes, runs, price)
        print_findings(findings)
        refuse_problems(path, findings)
        if launch.is_up(path) and not force:
            again = "restarts Ray there, which also repairs a head without Ray"
            running = _running(file, f"pcsearch cluster up {shlex.quote(file)} --force {again}")
            _refuse_while_running(file, running, "restarting Ray")
        ask(f"Start the machines of {file}?", yes, "nothing was started")
        start_machines(path, told)
        typer.echo(
            f"Next: pcsearch cluster submit {shlex.quote(file)} RECIPE --runs URL\n"
            f"Its head costs money until: {down_command(file)}"
        )


def start_machines(file: Path, told: ctrl_c.CtrlC) -> None:
    """Start a cluster and say so; Ctrl-C says that its machines may run.

    Raises:
        UserError: the launcher failed; machines that it started cost money.
    """
    from pcsearch.cluster import launcher as launch

    told.words = (
        f"while the machines of {file} started; some may run, and cost money, until: "
        f"{down_command(str(file))} --force\nThe same command starts the rest"
    )
    launch.start(file)
    told.words = f"after {file} had started; it costs money until: {down_command(str(file))}"
    typer.echo(f"{file} is up")


def down_command(file: str) -> str:
    """The command that ends a cluster's machines."""
    return f"pcsearch cluster down {shlex.quote(file)}"


def stop(cluster: Cluster, job: JobArgument = None) -> None:
    """Stop a campaign as Ctrl-C does: nothing new starts, trials have 5 s to end their epoch.

    A longer epoch is trained again from the last checkpoint when the campaign resumes. Resume it
    with pcsearch cluster submit CLUSTER --resume RUN.
    """
    from pcsearch.cluster import launcher as launch
    from pcsearch.cluster.follow import follow
    from pcsearch.cluster.jobs import Jobs
    from pcsearch.cluster.tunnel import dashboard_of
    from pcsearch.search.observer import Silent

    with dashboard_of(cluster) as address:
        found = Jobs(address).find_submitted(job)
        if not found.runs:
            raise UserError(f"{found.id} is not running: it {_past(found)}")
        _stopped(launch.stop_campaign(Jobs(address), found))
        text = Jobs(address).log(found.id)
    for end in follow(text.split("\n"), Silent(), lambda line: None, cluster):
        if end.summary.status == "interrupted":
            typer.echo(f"resume with: {end.resume_command}")


def down(
    file: File,
    yes: Yes = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="End even if a campaign runs, or may run; it is stopped first.",
        ),
    ] = False,
) -> None:
    """End every machine of a cluster; files on S3 or a shared file system remain."""
    from pcsearch.cluster import launcher as launch

    path = launch.check_is_file(file, "cluster down")
    with ctrl_c.told_as("before any machine was ended") as told:
        all_the_same = f"{down_command(file)} --force ends all machines"
        running = _running(file, None if force else f"{all_the_same} anyway")
        if not force:
            _refuse_while_running(file, running, "ending its machines")
        ask(f"End every machine of {file}?", yes, "no machine was ended")
        _stop_all(file, running)
        end_machines(path, told)


def end_machines(file: Path, told: ctrl_c.CtrlC) -> None:
    """End every machine of a cluster and say so; Ctrl-C says that some may still run.

    Raises:
        UserError: the launcher failed; machines may still run, and cost money.
    """
    from pcsearch.cluster import launcher as launch

    told.words = (
        f"while the machines of {file} were ended; some may still run, and cost money, until: "
        f"{down_command(str(file))} --force"
    )
    launch.end(file)
    told.words = f"after {file} was down"
    typer.echo(f"{file} is down")


def _stop_all(file: str, running: list[jobs.Job]) -> None:
    from pcsearch.cluster import launcher as launch

    if running:
        try:
            launch.stop_campaigns(file, _stopped)
        except UserError as error:  # do not keep paying for machines because of it
            typer.echo(f"{error}\nthe machines of {file} are ended anyway", err=True)
        for job in [job for job in running if job.process is not None]:
            typer.echo(f"{named(job)} was not submitted: it ends with its machine", err=True)


def _running(file: str, all_the_same: str | None) -> list[jobs.Job]:
    """The running campaigns. If they are unknown: none if `all_the_same` is None, else an error."""
    from pcsearch.cluster import launcher as launch

    try:
        return launch.running_campaigns(file)
    except UserError as error:
        if all_the_same is None:
            return []
        raise UserError(f"{error}\nwhether a campaign runs is unknown; {all_the_same}") from error


def _refuse_while_running(file: str, running: list[jobs.Job], what: str) -> None:
    from pcsearch.cluster.jobs import STOP_THERE

    if running:
        names = ", ".join(map(named, running))
        by_command = f"pcsearch cluster stop {shlex.quote(file)}"
        ways = {STOP_THERE if job.process is not None else by_command for job in running}
        raise UserError(
            f"{names} still runs on {file}, and {what} would interrupt it; wait, or stop it with: "
            f"{'; and '.join(sorted(ways))}; or give --force"
        )


def named(job: jobs.Job) -> str:
    """A job's id; also its process if it was not submitted."""
    return job.id if job.process is None else f"{job.id} ({job.process})"


def _stopped(job: jobs.Job) -> None:
    typer.echo(f"{job.id} {_past(job)}")


def _past(job: jobs.Job) -> str:
    return {"SUCCEEDED": "is done", "FAILED": "failed"}.get(job.status, "was stopped")


def ask(question: str, yes: bool, nothing: str) -> None:
    """Ask before something that costs money or ends machines.

    Args:
        question: What to ask.
        yes: Whether the answer was given as an option.
        nothing: What to say after a no, which ends the command with exit code 1.

    Raises:
        UserError: there is no terminal to ask.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError("cannot ask without a terminal; give --yes")
    try:
        agreed = typer.confirm(question)
    except typer.Abort:  # Ctrl-C, or the end of the input
        typer.echo(err=True)  # the question's line is unfinished
        raise KeyboardInterrupt from None
    if not agreed:
        typer.echo(nothing, err=True)
        raise typer.Exit(1)
