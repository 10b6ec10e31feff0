"""`pcsearch simulate`: what a recipe would do on a cluster, before anybody pays for it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pcsearch.cli.options import RUNS, Images, Json, Recipes, Runs, examples

EPILOG = examples(
    "pcsearch simulate cub200 --nodes 8 --gpus-per-node 1 --price 0.80",
    "pcsearch simulate cub200 --nodes 8 --gpus-per-node 4 --losses-per-hour 0.05",
    "pcsearch simulate my.yaml search.trials=200 --nodes 2 --gpus-per-node 8 --curves runs/first",
    "pcsearch simulate quickstart --nodes 4 --cpus-per-node 8 --json | jq .makespan_seconds",
)


_Nodes = Annotated[int, typer.Option(metavar="K", min=1, max=100_000, help="Nodes at most.")]
_GpusPerNode = Annotated[
    int, typer.Option(metavar="G", min=0, max=1000, help="GPUs of a node; 0 trains on CPUs.")
]
_CpusPerNode = Annotated[
    int | None,
    typer.Option(
        metavar="C", min=1, max=10_000, help="CPUs of a node; by default 8 for each GPU, or 8."
    ),
]
_Curves = Annotated[
    str | None,
    typer.Option(
        metavar="RUN",
        help="Learn as the trials of this run did, and as fast: its folder or address, or its "
        "name under --runs. By default, by made-up curves.",
    ),
]
_ImagesPerSecond = Annotated[
    float | None,
    typer.Option(
        metavar="R",
        help="Images that one trial trains on in a second, where no run says it; 500 by "
        "default, which is a guess.",
    ),
]
_StartSeconds = Annotated[
    float, typer.Option(metavar="S", min=0, help="Until a node that is asked for is there.")
]
_IdleMinutes = Annotated[
    float, typer.Option(metavar="M", min=0, help="Idle nodes go after this time.")
]
_Always = Annotated[
    int, typer.Option(metavar="N", min=0, help="Nodes that are there all the time.")
]
_LossesPerHour = Annotated[
    float, typer.Option(metavar="L", min=0, help="Losses of a spot node an hour, in the mean.")
]
_Price = Annotated[
    float | None,
    typer.Option(
        metavar="P",
        help="Of a node-hour, for the cost and for a budget.cost; in place of "
        "budget.price_per_node_hour.",
    ),
]
_Seed = Annotated[int, typer.Option(min=0, help="Of the made-up curves, and of the losses.")]
_Trials = Annotated[
    bool, typer.Option("--trials", help="List every trial: when it ran, and where.")
]


def simulate(
    recipes: Recipes = None,
    nodes: _Nodes = 1,
    gpus_per_node: _GpusPerNode = 0,
    cpus_per_node: _CpusPerNode = None,
    curves: _Curves = None,
    images_per_second: _ImagesPerSecond = None,
    start_seconds: _StartSeconds = 120.0,
    idle_minutes: _IdleMinutes = 5.0,
    always: _Always = 0,
    losses_per_hour: _LossesPerHour = 0.0,
    price: _Price = None,
    seed: _Seed = 0,
    trials: _Trials = False,
    images: Images = None,
    runs: Runs = RUNS,
    as_json: Json = False,
) -> None:
    """Run a campaign on a virtual clock: how long, how many GPU-hours, at what cost.

    The decisions are those of a real campaign, made by the same code, on nodes that start when
    trials wait, go when they are idle, and may be lost. Nothing is trained and nothing is started:
    ten thousand trials take seconds.

    What it says of time is as good as what it is told: give --curves of a short real run.
    """
    from pcsearch.cli.console import console, observer, write_json
    from pcsearch.cli.views.simulate import simulation_view
    from pcsearch.simulation.options import Options, simulations

    options = Options.checked(
        nodes=nodes,
        gpus_per_node=gpus_per_node,
        cpus_per_node=cpus_per_node,
        curves=curves,
        images_per_second=images_per_second,
        start_seconds=start_seconds,
        idle_seconds=60 * idle_minutes,
        always=always,
        losses_per_hour=losses_per_hour,
        price=price,
        seed=seed,
    )
    watcher = observer(stream=sys.stderr)
    try:
        done = simulations(recipes or [], options, images=images, runs=runs, observer=watcher)
    finally:
        watcher.close()
    if as_json:
        write_json([one.to_json() for one in done], indent=2)
        return
    for one in done:
        console().print(simulation_view(one, list_trials=trials))
