"""`pcsearch plan`: the size, time and cost of a recipe, without starting a campaign."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Annotated

import typer

from pcsearch.cli.options import RUNS, AllowCode, Images, Json, Recipes, examples

EPILOG = examples(
    "pcsearch plan quickstart",
    "pcsearch plan cub200 --seconds-per-epoch 60 --price-per-hour 1.20 --width 4",
    "pcsearch plan my.yaml search.trials=50 --json",
    "pcsearch plan my.yaml search.prior=first-try --runs /data/runs",
)


def plan(
    recipes: Recipes = None,
    images: Images = None,
    seconds_per_epoch: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            help="Seconds per training epoch of a search trial, for hours on another machine.",
        ),
    ] = None,
    price_per_hour: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            help="Hourly price of one trial's resources, such as a GPU, for the cost; at the "
            "speed of this machine, or of --seconds-per-epoch.",
        ),
    ] = None,
    width: Annotated[
        int | None,
        typer.Option(
            metavar="W",
            min=1,
            help="Number of trials at once; by default as many as this machine runs, or 1 with "
            "--seconds-per-epoch.",
            show_default=False,
        ),
    ] = None,
    measure: Annotated[
        bool,
        typer.Option(help="Measure the networks' speed on this machine, in about 15 seconds."),
    ] = True,
    runs: Annotated[
        str,
        typer.Option(
            "--runs",
            metavar="DIR",
            help="Folder, or s3://BUCKET/PREFIX, of the runs that search.prior names.",
            envvar="PCSEARCH_RUNS",
        ),
    ] = RUNS,
    allow_code: AllowCode = None,
    as_json: Json = False,
) -> None:
    """Show what recipes will do, how long it takes and what it costs, without starting a campaign.

    Shows studies, images, licences of published weights, trials and rungs of early stopping. Epochs
    and time are shown as expected and at most.

    The time is that of this machine: each network trains on random images for a few seconds. For
    another machine, give --seconds-per-epoch. With --price-per-hour, the cost is shown.

    Images are decoded into the cache, where the run finds them. If search.lr is auto, the range of
    learning rates is measured. Start points of a search.prior are shown with their runs.
    """
    from pcsearch import api
    from pcsearch.cli.console import console, observer, write_json
    from pcsearch.cli.views.plan import Published, Rates, plan_json, plan_view
    from pcsearch.execution.preflight.model_check import all_published_weights
    from pcsearch.execution.preflight.speed import Forecast, forecast
    from pcsearch.recipe.schema import Recipe
    from pcsearch.search.plan import Plan

    rates = Rates.checked(seconds_per_epoch, price_per_hour, width or 1, measure)
    measured = measure and seconds_per_epoch is None
    forecasts: list[Forecast | None] = []
    published: list[Published] = []

    def on_plan(recipe: Recipe, plan: Plan) -> None:
        published.append(all_published_weights(recipe))
        forecasts.append(forecast(recipe, plan, width) if measured else None)

    watcher = observer(stream=sys.stderr)
    try:
        plans = api.plan_all(
            recipes or [],
            images=images,
            runs=runs,
            allow_code=allow_code or (),
            observer=watcher,
            on_plan=on_plan,
        )
    finally:
        watcher.close()
    every = [
        (plan, replace(rates, forecast=one), weights)
        for plan, one, weights in zip(plans, forecasts, published, strict=True)
    ]
    if as_json:
        write_json([plan_json(*one) for one in every], indent=2)
        return
    for one_plan in every:
        console().print(plan_view(*one_plan))
