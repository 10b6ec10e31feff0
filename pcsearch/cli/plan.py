"""`pcsearch plan`: what a recipe amounts to, without starting anything."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pcsearch.cli.options import RUNS, AllowCode, Images, Json, Recipes, Runs, examples

EPILOG = examples(
    "pcsearch plan quickstart",
    "pcsearch plan cub200 --seconds-per-epoch 60 --price-per-hour 1.20 --width 4",
    "pcsearch plan my.yaml search.trials=50 --json",
    "pcsearch plan my.yaml search.prior=first-try",
)


def plan(
    recipes: Recipes = None,
    images: Images = None,
    seconds_per_epoch: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            help="Seconds of one training epoch of a search trial, for the hours.",
        ),
    ] = None,
    price_per_hour: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            help="Price of an hour of what one trial occupies (a GPU, say), for the cost.",
        ),
    ] = None,
    width: Annotated[
        int, typer.Option(metavar="W", min=1, help="Trials at once, for the hours.")
    ] = 1,
    runs: Runs = RUNS,
    allow_code: AllowCode = None,
    as_json: Json = False,
) -> None:
    """Say what recipes amount to, without starting anything.

    Studies, trials, the ladder of early stopping, images, epochs at most and expected; and rough
    hours and cost when told seconds an epoch and a price. Images are decoded into the cache, where
    the run finds them again. Where search.lr is auto, the range of learning rates is measured.
    Start points of a search.prior are shown with the run that they come from.
    """
    from pcsearch import api
    from pcsearch.cli.console import console, observer, write_json
    from pcsearch.cli.views.plan import Rates, plan_json, plan_view

    rates = Rates.checked(seconds_per_epoch, price_per_hour, width)
    watcher = observer(stream=sys.stderr)
    try:
        plans = api.plan_all(
            recipes or [],
            images=images,
            runs=runs,
            allow_code=allow_code or (),
            observer=watcher,
        )
    finally:
        watcher.close()
    if as_json:
        write_json([plan_json(one, rates) for one in plans], indent=2)
        return
    for one in plans:
        console().print(plan_view(one, rates))
