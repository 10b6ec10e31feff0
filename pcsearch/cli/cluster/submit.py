"""`pcsearch cluster submit`: start a campaign on a cluster."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pcsearch.cli import completion
from pcsearch.cli.cluster.follow import watch
from pcsearch.cli.cluster.options import Cluster
from pcsearch.cli.options import AllowCode, Images, Plain, examples
from pcsearch.errors import UserError

if TYPE_CHECKING:
    from pcsearch.cluster.follow import Following
    from pcsearch.recipe.schema import Recipe

EPILOG = examples(
    "pcsearch cluster submit cluster.yaml cub200 data.root=/data --runs s3://my-bucket/runs",
    "pcsearch cluster submit cluster.yaml my.yaml search.trials=30 --runs /shared/runs --detach",
    "pcsearch cluster submit cluster.yaml --resume first-try --runs s3://my-bucket/runs",
)


_Recipes = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RECIPE... [KEY=VALUE]...",
        help="Recipes as for pcsearch tune; their files are sent. Paths are those of the cluster.",
        show_default=False,
        autocompletion=completion.recipes_and_keys,
    ),
]
_Runs = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Where to store the runs: s3://BUCKET/PREFIX, or a folder that all nodes share.",
    ),
]
_Name = Annotated[
    str | None,
    typer.Option(help="Name of the run; by default the recipe's name and the time."),
]
_Resume = Annotated[
    str | None,
    typer.Option(
        metavar="RUN",
        help="Run to continue instead of a new one: its address, its folder there, or its name "
        "under --runs. KEY=VALUE then widens it.",
    ),
]
_Module = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="PATH",
        help="With --resume: file or package of your own network, to send and allow there.",
    ),
]
_Detach = Annotated[
    bool, typer.Option("--detach", help="Print the job's id and return, without following.")
]


def submit(
    cluster: Cluster,
    recipes: _Recipes = None,
    runs: _Runs = None,
    name: _Name = None,
    images: Images = None,
    resume: _Resume = None,
    module: _Module = None,
    allow_code: AllowCode = None,
    detach: _Detach = False,
    plain: Plain = False,
) -> None:
    """Send recipes to a cluster, start the campaign there and follow it.

    The campaign runs as a Ray job on the cluster's head. It continues when this machine sleeps or
    is off. pcsearch cluster attach follows it again, from anywhere.

    Your own networks (module:function) are sent if --allow-code names their module. Nothing else is
    sent: images and weights files must be on the cluster. No setting or credential of this machine
    is sent.

    A cluster file is checked first: room for a trial, storage for the runs, and the token.

    Exit codes: the campaign's, as for pcsearch tune; 130 after Ctrl-C, which stops following, not
    the campaign.
    """
    from pcsearch.cli.console import note
    from pcsearch.cluster import submit as sending
    from pcsearch.cluster.jobs import Jobs
    from pcsearch.cluster.tunnel import dashboard_of, is_address, refuse_bare_address
    from pcsearch.code_consent import allow
    from pcsearch.recipe.load import load_recipes
    from pcsearch.recipe.overrides import split_arguments

    allow(allow_code or ())
    with tempfile.TemporaryDirectory(prefix="pcsearch-submit-") as scratch:
        folder = Path(scratch)
        loaded: list[Recipe] = []
        if resume is None:
            loaded = load_recipes(recipes or [], (), images, note, here=False)
            package = sending.new_campaign(loaded, folder, runs=runs, name=name)
        else:
            named, overrides = split_arguments(recipes or [])
            if named or name or images:
                raise UserError(
                    f"--resume {resume} already has its recipe, its name and its images; give only "
                    "KEY=VALUE changes"
                )
            package = sending.further_campaign(
                resume, overrides, folder, runs=runs, modules=module or []
            )
        if not is_address(cluster):
            refuse_bare_address(cluster)
            sending.check_fits(Path(cluster), loaded, package.about["runs"])
        with dashboard_of(cluster) as address:
            job = sending.send(Jobs(address), package)
    if detach:
        typer.echo(job)
        return
    raise watch(cluster, submitted(cluster, job), plain=plain)


def submitted(cluster: str, job: str) -> Following:
    """A campaign to follow, after a line with its id and how to come back to it."""
    from pcsearch.cluster.follow import Following

    typer.echo(f"submitted {job}")
    following = Following(cluster, job)
    typer.echo(
        f"It continues after Ctrl-C, and with this machine off; come back with: "
        f"{following.attach_command}"
    )
    return following
