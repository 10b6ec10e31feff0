"""`pcsearch cluster status`: machines and campaigns of a cluster."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from pcsearch.cli.cluster.options import Cluster
from pcsearch.cli.options import Json, examples
from pcsearch.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

    from pcsearch.cluster.jobs import HeadNode, Job

EPILOG = examples(
    "pcsearch cluster status cluster.yaml",
    "pcsearch cluster status http://127.0.0.1:8265 --json",
)


def status(cluster: Cluster, as_json: Json = False) -> None:
    """List a cluster's machines, and its campaigns since its head started, latest first.

    For machines: their number, their size, and the resources for trials. For campaigns: job id,
    status, time, recipes and place of the runs.

    A running campaign also shows how many of its planned trials have ended; early stopping ends
    many soon. A campaign that joined with --address is listed with its process, whose own terminal
    shows the progress.
    """
    from pcsearch.cli.console import console, write_json
    from pcsearch.cluster.jobs import Jobs
    from pcsearch.cluster.tunnel import dashboard_of

    with dashboard_of(cluster) as address:
        jobs = Jobs(address)
        nodes, campaigns = jobs.nodes(), jobs.campaigns()
        far = {
            job.id: _how_far(jobs.log(job.id), cluster)
            for job in campaigns
            if job.runs and job.process is None
        }
    if as_json:
        rows = [
            vars(job) | {"metadata": dict(job.metadata), "progress": far.get(job.id)}
            for job in campaigns
        ]
        write_json({"nodes": [vars(node) for node in nodes], "campaigns": rows}, indent=2)
        return
    typer.echo(_machines(nodes))
    if campaigns:
        wide = console()
        wide.width = 1000  # lines wrapped by the terminal copy whole, lines folded by Rich do not
        wide.print(_table(campaigns, far, time.time()))
        for job in campaigns:
            if job.process is not None and job.runs:
                typer.echo(f"{job.id} was not submitted; it is {job.process}")
    else:
        typer.echo("no campaign was submitted yet; submit one with pcsearch cluster submit")


def _machines(nodes: list[HeadNode]) -> str:
    from pcsearch.cli.views.text import count

    workers = [node for node in nodes if not node.is_head]
    cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    heads = "the head" if len(workers) < len(nodes) else "no head"
    lines = [
        f"{heads} and {count(len(workers), 'worker')}: {cpus:g} CPUs and {gpus:g} GPUs for trials"
    ]
    sizes = Counter((node.cpus, node.gpus) for node in workers)
    lines += [
        f"  {count(many, 'worker')} with {_amount(cpus, 'CPU')} and {_amount(gpus, 'GPU')}"
        for (cpus, gpus), many in sizes.most_common()
    ]
    return "\n".join(lines)


def _amount(many: float, what: str) -> str:
    return f"{many:g} {what}" if many == 1 else f"{many:g} {what}s"


def _how_far(log: str, cluster: str) -> dict[str, Any] | None:
    """Run and trial counts of a running campaign; None if its log does not give them."""
    from pcsearch.cli.views.progress import snapshot
    from pcsearch.cluster.follow import Latest, follow

    latest = Latest()
    with contextlib.suppress(UserError):  # a log of another version may be unreadable
        for _ in follow(log.split("\n"), latest, lambda line: None, cluster):
            pass
    if latest.state is None:
        return None
    now = snapshot(latest.state, latest.seconds, latest.width, latest.waiting)
    return {
        "run": latest.run,
        "trials_ended": now.ended,
        "trials_planned": now.planned,
        "trials_running": now.trained,
        "trials_waiting": now.waiting,
        "remaining_seconds": now.remaining_seconds,
    }


def _table(campaigns: list[Job], far: Mapping[str, dict[str, Any] | None], now: float) -> Table:
    from rich.table import Table

    from pcsearch.cli.views.text import short_duration

    table = Table(box=None, pad_edge=False)
    for column in ("job", "status", "time", "trials", "recipes", "runs"):
        table.add_column(column, no_wrap=True)
    for job in campaigns:
        took = "" if job.began is None else short_duration((job.ended or now) - job.began)
        done = far.get(job.id)
        trials = f"{done['trials_ended']} of {done['trials_planned']}" if done else ""
        about = job.metadata
        row = (job.id, job.status.lower(), took, trials)
        table.add_row(*row, about.get("recipes", ""), about.get("runs", ""))
    return table
