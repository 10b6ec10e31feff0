"""`pcsearch plan`: the size and cost of a recipe, without starting anything."""

from __future__ import annotations

import sys
from dataclasses import replace
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
            help="Seconds per training epoch of a search trial; needed for hours.",
        ),
    ] = None,
    price_per_hour: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            help="Hourly price of one trial's resources, such as a GPU; needed for the cost.",
        ),
    ] = None,
    width: Annotated[
        int | None,
        typer.Option(
            metavar="W",
            min=1,
            help="Number of trials at once, for hours; by default what this machine runs.",
            show_default=False,
        ),
    ] = None,
    measure: Annotated[
        bool,
        typer.Option(help="Measure the speed of each network here, in at most 15 seconds."),
    ] = True,
    runs: Runs = RUNS,
    allow_code: AllowCode = None,
    as_json: Json = False,
) -> None:
    """Show what recipes will do and cost, without starting anything.

    Shows studies, trials, rungs of early stopping, images, and epochs, expected and at most. The
    time is for this machine: each network trains for a few seconds. For another machine, give
    --seconds-per-epoch; with --price-per-hour, also the cost. Images are decoded into the cache,
    where the run finds them. If search.lr is auto, the range of learning rates is measured. Start
    points of a search.prior are shown with their runs.
    """
    from pcsearch import api
    from pcsearch.cli.console import console, observer, write_json
    from pcsearch.cli.views.plan import Rates, plan_json, plan_view
    from pcsearch.execution.preflight.speed import Forecast, forecast

    rates = Rates.checked(seconds_per_epoch, price_per_hour, width or 1)
    measured = measure and seconds_per_epoch is None
    forecasts: list[Forecast | None] = []
    watcher = observer(stream=sys.stderr)
    try:
        plans = api.plan_all(
            recipes or [],
            images=images,
            runs=runs,
            allow_code=allow_code or (),
            observer=watcher,
            on_plan=lambda recipe, plan: forecasts.append(
                forecast(recipe, plan, width) if measured else None
            ),
        )
    finally:
        watcher.close()
    every = [
        (plan, replace(rates, forecast=one)) for plan, one in zip(plans, forecasts, strict=True)
    ]
    if as_json:
        write_json([plan_json(*one) for one in every], indent=2)
        return
    for plan, one in every:
        console().print(plan_view(plan, one))
