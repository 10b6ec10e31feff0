"""`pcsearch tune`: run recipes and print the results."""

from __future__ import annotations

from typing import Annotated

import typer

from pcsearch.cli import ctrl_c
from pcsearch.cli.cluster.options import Down, OnCluster, Price, Yes
from pcsearch.cli.options import (
    RUNS,
    Address,
    AllowCode,
    Detach,
    Events,
    Images,
    Plain,
    Recipes,
    Runs,
    examples,
)

EPILOG = examples(
    "pcsearch tune quickstart",
    "pcsearch tune my.yaml search.trials=30 'search.lr=[0.001, 0.1]' --name first-try",
    "pcsearch tune --images ~/birds",
    "pcsearch tune --images ~/birds --hours 8 --detach",
    "pcsearch tune my.yaml 'backbones=[my_models:small_net]' --allow-code my_models",
    "pcsearch tune cub200 --address auto --runs s3://my-bucket/runs",
    "pcsearch tune cub200 --cluster my-cluster.yaml --runs s3://my-bucket/runs --down",
)


def tune(
    ctx: typer.Context,
    recipes: Recipes = None,
    images: Images = None,
    runs: Runs = RUNS,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the run; by default the recipe's name and the time."),
    ] = None,
    hours: Annotated[
        float | None,
        typer.Option(
            metavar="H",
            help="Hours that the campaign may take on this machine. The recipe's trials, epochs, "
            "repeats and seeds are scaled to fit, by the measured speed.",
            show_default=False,
        ),
    ] = None,
    plain: Plain = False,
    events: Events = False,
    detach: Detach = False,
    address: Address = None,
    cluster: OnCluster = None,
    down: Down = False,
    price: Price = None,
    yes: Yes = False,
    allow_code: AllowCode = None,
) -> None:
    """Search λ, confirm it with fresh seeds, print the table.

    Several recipes run one after another; all are checked before the first starts. On this machine,
    the expected time is measured and printed first, unless the network is tiny. On a terminal, a
    campaign of more than a day starts only after you agree.

    Ctrl-C ends a campaign cleanly within seconds. pcsearch resume continues a started campaign,
    however it ended, also after a crash.

    With --cluster, the campaign runs on a cluster: the file is checked, its machines start after
    you agree, and the campaign is followed. Ctrl-C then ends only the following, and says how to
    come back.

    Exit codes: 0 done, 1 finished with failed studies, 2 a mistake in the input or a full disk, 3
    Ray or the store was lost, 129 the terminal was closed, 130 interrupted, 141 nobody reads the
    output, 143 ended by SIGTERM.
    """
    ctrl_c.nothing_to_clean_up()
    from pcsearch.cli.cluster.tune import check_options, runs_there, tune_there
    from pcsearch.cli.detach import watch_of
    from pcsearch.code_consent import allow
    from pcsearch.execution.launch import run_recipes
    from pcsearch.recipe.load import load_recipes

    check_options(ctx)
    if cluster is not None:
        allow(allow_code or ())
        raise tune_there(
            cluster,
            recipes or [],
            images=images,
            runs=runs_there(ctx),
            name=name,
            prices=price,
            yes=yes,
            down=down,
            plain=plain,
            events=events,
        )
    with (
        ctrl_c.told_as(ctrl_c.BEFORE_START) as told,
        watch_of(detach, plain=plain, events=events) as watch,
    ):
        allow(allow_code or ())
        notes: list[str] = []
        loaded = load_recipes(
            recipes or [], images=images, noted=notes.append, gpus=address is not None
        )
        for outcome in run_recipes(
            loaded,
            runs=runs,
            name=name,
            address=address,
            observer=watch.observer,
            agree=watch.agrees,
            hours=hours,
            notes=notes,
        ):
            watch.ended(outcome)
            told.words = ctrl_c.AFTER_RESULTS
    raise typer.Exit(watch.exit_code)
