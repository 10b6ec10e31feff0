"""`pcsearch cluster status`: what runs on a cluster."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import typer

from pcsearch.cli.cluster.options import Cluster
from pcsearch.cli.options import Json, examples

if TYPE_CHECKING:
    from rich.table import Table

    from pcsearch.cluster.jobs import Job, Node

EPILOG = examples(
    "pcsearch cluster status cluster.yaml",
    "pcsearch cluster status http://127.0.0.1:8265 --json",
)


def status(cluster: Cluster, as_json: Json = False) -> None:
    """List a cluster's machines and the campaigns that were submitted to it, the latest first."""
    from pcsearch.cli.console import console, write_json
    from pcsearch.cluster.jobs import Jobs
    from pcsearch.cluster.tunnel import dashboard_of

    with dashboard_of(cluster) as address:
        jobs = Jobs(address)
        nodes, campaigns = jobs.nodes(), jobs.campaigns()
    if as_json:
        rows = [vars(job) | {"metadata": dict(job.metadata)} for job in campaigns]
        write_json({"nodes": [vars(node) for node in nodes], "campaigns": rows}, indent=2)
        return
    typer.echo(_machines(nodes))
    if campaigns:
        console().print(_table(campaigns, time.time()))
    else:
        typer.echo("no campaign was submitted yet; pcsearch cluster submit does it")


def _machines(nodes: list[Node]) -> str:
    from pcsearch.cli.text import count

    workers = [node for node in nodes if not node.is_head]
    cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    heads = "the head" if len(workers) < len(nodes) else "no head"
    return (
        f"{heads} and {count(len(workers), 'worker')}: {cpus:g} CPUs and {gpus:g} GPUs for trials"
    )


def _table(campaigns: list[Job], now: float) -> Table:
    from rich.table import Table

    from pcsearch.cli.text import duration

    table = Table(box=None, pad_edge=False)
    for column in ("job", "status", "for", "recipes", "runs"):
        table.add_column(column, overflow="fold")
    for job in campaigns:
        took = "" if job.began is None else duration((job.ended or now) - job.began)
        about = job.metadata
        table.add_row(
            job.id, job.status.lower(), took, about.get("recipes", ""), about.get("runs", "")
        )
    return table
