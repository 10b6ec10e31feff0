"""Arguments that the cluster commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Cluster = Annotated[
    str,
    typer.Argument(
        metavar="CLUSTER",
        help="Cluster file, as for `ray up`; or the address of its dashboard, such as "
        "http://127.0.0.1:8265.",
    ),
]
File = Annotated[str, typer.Argument(metavar="FILE", help="Cluster file, as for `ray up`.")]
JobArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[JOB]",
        help="Job id from cluster status; by default the latest running job.",
        show_default=False,
    ),
]
Price = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TYPE=P",
        help="Hourly price of a node type of the cluster file; once per type.",
        show_default=False,
    ),
]
OnCluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="FILE",
        help="Run on the cluster of this file, as for [bold]pcsearch cluster up[/]. It is checked, "
        "and started if it is not up. Paths, also --images, are then those of the cluster; --runs "
        "must be s3://BUCKET/PREFIX or a folder that all nodes share.",
        show_default=False,
    ),
]
Down = Annotated[
    bool,
    typer.Option(
        "--down",
        help="With --cluster: end its machines when the campaign has ended, also if it failed. Not "
        "if following ends before that, nor while another campaign runs there.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
