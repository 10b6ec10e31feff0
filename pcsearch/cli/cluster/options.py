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
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
