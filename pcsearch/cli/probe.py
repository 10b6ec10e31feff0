"""`pcsearch probe`: accuracy over λ/N in a minute, predicted from frozen features."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pcsearch.cli import completion
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
        help="Recipe file, or name from [bold]pcsearch recipes ls[/]; and overrides of its keys, "
        "such as data.root=DIR.",
        show_default=False,
        autocompletion=completion.recipes_and_keys,
    ),
]


def probe(
    recipe: Recipe = None,
    images: Images = None,
    repeats: Annotated[
        int,
        typer.Option(
            metavar="K", min=2, max=1000, help="Number of splits and seeds for each value."
        ),
    ] = RepeatsOption,
    allow_code: AllowCode = None,
    as_json: Json = False,
) -> None:
    """Predict accuracy over λ/N from frozen features, without training the network.

    The recipe's backbone computes the features of the training images once. Linear heads train on
    them with the recipe's loss, for λ = 0 and 12 values of λ/N from 0.005 to 0.5. The recipe's
    split and further splits validate them. It takes about a minute for 1,500 small images on one
    CPU core, writes no run and never measures test images.

    It is a prediction, not a verdict: training also changes the body.
    """
    from pcsearch import api
    from pcsearch.cli.console import console, note, write_json
    from pcsearch.cli.data.progress import show_progress
    from pcsearch.cli.views.probe import probe_view
    from pcsearch.recipe.load import load_recipes

    recipes = load_recipes(recipe or [], images=images, noted=note)
    if len(recipes) > 1:
        raise UserError(
            f"probe takes one recipe, but {len(recipes)} are given, {recipes[0].name} first"
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
