"""`pcsearch tune --cluster`: check, start, submit, follow and end, in one command."""

from __future__ import annotations

import contextlib
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pcsearch.cli import ctrl_c
from pcsearch.cli.cluster.check import (
    findings_for,
    known_prices,
    print_findings,
    refuse_problems,
)
from pcsearch.cli.cluster.follow import watch
from pcsearch.cli.cluster.lifecycle import (
    ask,
    down_command,
    end_machines,
    named,
    start_machines,
)
from pcsearch.cli.cluster.submit import submitted
from pcsearch.errors import PcsearchError, UserError

if TYPE_CHECKING:
    from pcsearch.cluster.files.cluster_file import ClusterConfig
    from pcsearch.cluster.follow import Following
    from pcsearch.cluster.submit import Package
    from pcsearch.recipe.schema import Recipe

_EXIT_MISTAKE = 2
_BESIDE_CLUSTER = {
    "address": "--address joins a cluster that runs, and --cluster starts one: give only one",
    "hours": "--hours measures this machine, not a cluster: set budget.hours=H with --cluster",
    "detach": "--detach is for this machine: with --cluster, Ctrl-C leaves the campaign running",
}
_FOR_CLUSTER = {
    "down": "--down ends a cluster's machines: it needs --cluster FILE",
    "price": "--price is of a cluster's machines: it needs --cluster FILE",
    "yes": "--yes agrees to start a cluster's machines: it needs --cluster FILE",
}


def check_options(ctx: typer.Context) -> None:
    """Refuse options of `tune` that make no sense with, or without, --cluster.

    Raises:
        UserError: one line for each such option.
    """
    here = ctx.params.get("cluster") is None
    unfit = _FOR_CLUSTER if here else _BESIDE_CLUSTER
    if problems := [line for name, line in unfit.items() if ctx.params.get(name)]:
        raise UserError("\n".join(problems))


def runs_there(ctx: typer.Context) -> str | None:
    """The value of --runs if it was typed: defaults and PCSEARCH_RUNS are of this machine."""
    source = ctx.get_parameter_source("runs")
    typed = source is not None and source.name == "COMMANDLINE"
    return str(ctx.params["runs"]) if typed else None


def tune_there(
    cluster: str,
    recipes: list[str],
    *,
    images: Path | None,
    runs: str | None,
    name: str | None,
    prices: list[str] | None,
    yes: bool,
    down: bool,
    plain: bool,
    events: bool,
) -> typer.Exit:
    """Run recipes on a cluster, which is started if it is not up; returns the campaign's exit.

    Args:
        cluster: The cluster's file, or its dashboard's address, which must be up.
        recipes: Recipes and overrides, as for `tune`.
        images: The folder of images, on the nodes.
        runs: Where the cluster keeps the runs.
        name: The run's name.
        prices: TYPE=P for node types.
        yes: Whether to start machines without asking.
        down: Whether to end the machines after the campaign.
        plain: Plain lines instead of the live view.
        events: Events on standard output, and nothing else there.

    Raises:
        UserError: a mistake, or a step that failed; the message says what runs and costs.
        PcsearchError: the connection to the cluster is lost.
    """
    from pcsearch.cli.console import note
    from pcsearch.cluster import submit as sending
    from pcsearch.cluster.tunnel import is_address
    from pcsearch.recipe.load import load_recipes

    with (
        ctrl_c.told_as(ctrl_c.BEFORE_START) as told,
        tempfile.TemporaryDirectory(prefix="pcsearch-submit-") as scratch,
    ):
        with _standard_output_free(events):
            loaded = load_recipes(recipes, (), images, note, here=False)
            package = sending.new_campaign(loaded, Path(scratch), runs=runs, name=name)
            if down or not is_address(cluster):
                _start(cluster, loaded, package, known_prices(prices), down, yes, told)
            following = _submit(cluster, package, down, told)
        told.words = (
            f"while following; the campaign continues. Follow it again with: "
            f"{following.attach_command}"
        )
        try:
            exit_ = watch(cluster, following, plain=plain, events=events)
        except PcsearchError as error:
            raise type(error)(f"{error}\n{_cost(cluster, down)}") from error
        with _standard_output_free(events):
            return _finish(cluster, following, exit_, down, told)


def _start(
    cluster: str,
    recipes: Sequence[Recipe],
    package: Package,
    prices: dict[str, float],
    down: bool,
    yes: bool,
    told: ctrl_c.CtrlC,
) -> None:
    """Check the file, and start its machines unless they are up."""
    from pcsearch.cli.console import note
    from pcsearch.cluster import launcher as launch
    from pcsearch.cluster.files.cluster_file import load_launcher_file
    from pcsearch.cluster.files.storage import outlives_machines

    path = launch.check_is_file(cluster, "--down" if down else "--cluster")
    runs, config = package.about["runs"], load_launcher_file(path)
    findings = findings_for(path, recipes, runs, prices)
    print_findings(findings)
    refuse_problems(path, findings)
    if down and not outlives_machines(config, runs):
        raise UserError(
            f"--down would end the head, and with it the runs in its folder {runs}; keep them on "
            "S3 (--runs s3://BUCKET/runs), or omit --down"
        )
    if not launch.is_up(path):
        ask(_question(cluster, config, recipes, prices), yes, "nothing was started")
        start_machines(path, told)
    elif launch.changed_since_start(path):
        note(
            f"{cluster}, or a file that it copies, was changed after its cluster had started; the "
            f"campaign runs on the cluster as it is. pcsearch cluster up {shlex.quote(cluster)} "
            "applies changes"
        )


def _question(
    cluster: str, config: ClusterConfig, recipes: Sequence[Recipe], prices: dict[str, float]
) -> str:
    """Whether to start the machines, with their price at most as far as it is known."""
    from pcsearch.cluster.files.cluster_file import worker_types
    from pcsearch.cluster.files.nodes import highest_price

    types = config.get("available_node_types") or {}
    stated = [r.budget.price_per_node_hour for r in recipes if r.budget.price_per_node_hour]
    parts = [f"Start the machines of {cluster}?"]
    most = None
    if types and not types.keys() - prices.keys():
        most = highest_price(config, prices)
        parts.append(f"They cost {most:,.2f} an hour at most.")
    elif types and stated:
        most = highest_price(config, dict.fromkeys(worker_types(config), max(stated)))
        parts.append(
            f"The workers cost {most:,.2f} an hour at most (budget.price_per_node_hour); the "
            "head's price comes on top."
        )
    elif types:
        wanted = " ".join(f"--price {name}=P" for name in types if name not in prices)
        parts.append(f"Their price is unknown; {wanted} gives it.")
    for recipe in recipes:
        hours, cost = recipe.budget.hours, recipe.budget.cost
        if cost is not None:
            parts.append(f"{recipe.name} plans to spend {cost:,.2f} on workers (budget.cost).")
        elif hours is not None and most is not None:
            parts.append(
                f"{recipe.name} plans {hours:g} h (budget.hours): {hours * most:,.2f} at most."
            )
    return " ".join(parts)


def _submit(cluster: str, package: Package, down: bool, told: ctrl_c.CtrlC) -> Following:
    """Send the campaign; a failure says that the machines run."""
    from pcsearch.cli.console import note
    from pcsearch.cluster import submit as sending
    from pcsearch.cluster.jobs import Jobs
    from pcsearch.cluster.tunnel import dashboard_of, is_address

    told.words = (
        f"while the campaign was sent; pcsearch cluster status {shlex.quote(cluster)} shows "
        f"whether it runs. {_cost(cluster, down)}"
    )
    again = f"pcsearch cluster up {shlex.quote(cluster)} --force"
    what = f"the submission failed; if Ray does not run on the head, this starts it: {again}"
    try:
        with dashboard_of(cluster) as address:
            jobs = Jobs(address)
            others = [job for job in jobs.campaigns() if job.runs] if down else []
            job = sending.send(jobs, package)
        if others:
            note(
                f"{', '.join(map(named, others))} also runs on {cluster}; --down ends no machine "
                "while it runs"
            )
        what = f"the campaign runs; pcsearch cluster attach {shlex.quote(cluster)} {job} follows it"
        told.words = f"after it was sent; {what}. {_cost(cluster, down)}"
        return submitted(cluster, job)
    except PcsearchError as error:
        if is_address(cluster):
            raise
        raise type(error)(f"{error}\n{what}\n{_cost(cluster, down)}") from error


def _finish(
    cluster: str, following: Following, exit_: typer.Exit, down: bool, told: ctrl_c.CtrlC
) -> typer.Exit:
    """End the machines if that is wanted and the campaign has ended; else say that they run."""
    from pcsearch.cluster import launcher as launch

    if following.job.runs or not down:  # Ctrl-C ended the following alone
        typer.echo(_cost(cluster, down))
        return exit_
    told.words = f"after the campaign's end; {_cost(cluster, down)}"
    try:
        others = [job for job in launch.running_campaigns(cluster) if job.id != following.job.id]
        if others:
            typer.echo(
                f"{', '.join(map(named, others))} still runs on {cluster}. {_cost(cluster, down)}"
            )
            return exit_
        end_machines(Path(cluster), told)
    except PcsearchError as error:  # the exit code of a campaign that failed says more
        typer.echo(f"error: {error}\n{_cost(cluster, down)}", err=True)
        return typer.Exit(exit_.exit_code or _EXIT_MISTAKE)
    return exit_


def _cost(cluster: str, down: bool) -> str:
    """What runs, and costs, and how to end it."""
    from pcsearch.cluster.tunnel import is_address

    if is_address(cluster):
        return f"{cluster} runs until the tool that started it ends it"
    kept = "--down ended nothing: the" if down else "The"
    return f"{kept} machines of {cluster} run, and cost money, until: {down_command(cluster)}"


@contextlib.contextmanager
def _standard_output_free(events: bool) -> Iterator[None]:
    """With events, messages go to standard error: programs read standard output."""
    if not events:
        yield
        return
    with contextlib.redirect_stdout(sys.stderr):
        yield
