"""`pcsearch probe`: accuracy over λ/N in a minute, predicted from frozen features."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pcsearch.cli.options import AllowCode, Images, Json, examples
from pcsearch.errors import UserError

RepeatsOption = 8
EPILOG = examples(
    "pcsearch probe cub200-small",
    "pcsearch probe my.yaml 'backbones=[mobilenet_v2]' --repeats 10",
    "pcsearch probe --images ~/birds",
    "pcsearch probe my.yaml --json | jq '.[].best_lambda_over_n'",
)
Recipe = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RECIPE [KEY=VALUE]...",
        help="A recipe file, or a name that [bold]pcsearch recipes ls[/] lists; and overrides of "
        "its keys, such as data.root=DIR.",
        show_default=False,
    ),
]


def probe(
    recipe: Recipe = None,
    images: Images = None,
    repeats: Annotated[
        int,
        typer.Option(
            metavar="K", min=2, max=1000, help="Splits and seeds that each value is tried with."
        ),
    ] = RepeatsOption,
    allow_code: AllowCode = None,
    as_json: Json = False,
) -> None:
    """Predict accuracy over λ/N from frozen features, before a training.

    Features of the training images are taken once from the recipe's backbone. Linear heads are
    trained on them with the recipe's loss for λ = 0 and 12 values of λ/N from 0.005 to 0.5, and
    validated on the recipe's split and further ones. It takes about a minute for 1,500 small
    images on one CPU core, writes no run and never measures test images.

    It is a prediction, not a verdict: in a training the body changes too.
    """
    from pcsearch import api
    from pcsearch.cli.console import console, write_json
    from pcsearch.cli.data.progress import show_progress
    from pcsearch.cli.views.probe import probe_view
    from pcsearch.recipe.load import load_recipes

    recipes = load_recipes(recipe or [], images=images)
    if len(recipes) > 1:
        raise UserError(
            f"one recipe at a time: {len(recipes)} are given, {recipes[0].name} the first"
        )
    with show_progress(sys.stderr, "interrupted; nothing is kept") as progress:
        curves = api.probe(
            recipes[0],
            repeats=repeats,
            allow_code=allow_code or (),
            progress=progress.counted,
        )
    if as_json:
        write_json([curve.to_json() for curve in curves], indent=2)
        return
    terminal = console()
    for curve in curves:
        terminal.print(probe_view(curve, terminal.width))
