"""`pcsearch simulate`: what a recipe would do on a cluster, before you pay for it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pcsearch.cli import completion
from pcsearch.cli.options import RUNS, Images, Json, Recipes, Runs, examples

EPILOG = examples(
    "pcsearch simulate cub200 --nodes 8 --gpus-per-node 1 --price 0.80",
    "pcsearch simulate cub200 --nodes 8 --gpus-per-node 4 --losses-per-hour 0.05",
    "pcsearch simulate my.yaml search.trials=200 --nodes 2 --gpus-per-node 8 --curves runs/first",
    "pcsearch simulate quickstart --nodes 4 --cpus-per-node 8 --json | jq .makespan_seconds",
)


_Nodes = Annotated[
    int, typer.Option(metavar="K", min=1, max=100_000, help="Largest number of nodes.")
]
_GpusPerNode = Annotated[
    int, typer.Option(metavar="G", min=0, max=1000, help="GPUs per node; 0 trains on CPUs.")
]
_CpusPerNode = Annotated[
    int | None,
    typer.Option(metavar="C", min=1, max=10_000, help="CPUs per node; by default 8 per GPU, or 8."),
]
_Curves = Annotated[
    str | None,
    typer.Option(
        metavar="RUN",
        help="Run whose trials give the learning curves and the speed: its folder or address, or "
        "its name under --runs. By default, curves are synthetic.",
        autocompletion=completion.runs,
    ),
]
_ImagesPerSecond = Annotated[
    float | None,
    typer.Option(
        metavar="R",
        help="Training images per second of one trial, if no run gives them; by default 500, "
        "which is a guess.",
    ),
]
_StartSeconds = Annotated[
    float, typer.Option(metavar="S", min=0, help="Node boot time in seconds.")
]
_IdleMinutes = Annotated[
    float, typer.Option(metavar="M", min=0, help="Idle time in minutes before a node ends.")
]
_Always = Annotated[int, typer.Option(metavar="N", min=0, help="Number of nodes that never end.")]
_LossesPerHour = Annotated[
    float, typer.Option(metavar="L", min=0, help="Mean losses per hour of a spot node.")
]
_Price = Annotated[
    float | None,
    typer.Option(
        metavar="P",
        help="Price of a node-hour, for the cost and for budget.cost; replaces "
        "budget.price_per_node_hour.",
    ),
]
_Seed = Annotated[int, typer.Option(min=0, help="Random seed for curves and node losses.")]
_Trials = Annotated[
    bool, typer.Option("--trials", help="List every trial, with its times and node.")
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
    """Run a campaign on a virtual clock and show its time, GPU-hours and cost.

    The code of a real campaign makes the decisions. Nodes start when trials wait, end when they are
    idle, and may be lost. Nothing is trained and nothing is started: ten thousand trials take
    seconds.

    The times are as good as their input: give --curves of a short real run.
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
