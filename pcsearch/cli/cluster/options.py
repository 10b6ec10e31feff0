"""Arguments that the cluster commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Cluster = Annotated[
    str,
    typer.Argument(
        metavar="CLUSTER",
        help="The cluster's file, as for `ray up`; or its dashboard's address, such as "
        "http://127.0.0.1:8265.",
    ),
]
File = Annotated[str, typer.Argument(metavar="FILE", help="The cluster's file, as for `ray up`.")]
JobArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[JOB]",
        help="As cluster status lists it; by default the latest that runs.",
        show_default=False,
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
