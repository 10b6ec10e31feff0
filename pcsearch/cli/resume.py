"""`pcsearch resume`: continue a campaign, unchanged or wider."""

from __future__ import annotations

from typing import Annotated

import typer

from pcsearch.cli import completion, ctrl_c
from pcsearch.cli.options import (
    RUNS,
    Address,
    AllowCode,
    Detach,
    Events,
    Plain,
    Runs,
    examples,
)

EPILOG = examples(
    "pcsearch resume",
    "pcsearch resume first-try",
    "pcsearch resume first-try search.trials=40 confirm.seeds=10",
    "pcsearch resume runs/birds 'datasets=[cub200, cars]' budget.hours=12",
)


def resume(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN] [KEY=VALUE]...",
            help="Folder or s3:// address of a run, or its name under --runs; by default the "
            "latest run. And changes that make it wider, such as search.trials=40.",
            show_default=False,
            autocompletion=completion.run_and_keys,
        ),
    ] = None,
    runs: Runs = RUNS,
    plain: Plain = False,
    events: Events = False,
    detach: Detach = False,
    address: Address = None,
    allow_code: AllowCode = None,
) -> None:
    """Continue a run that was stopped, was killed or lost its machine; or widen one that ended.

    Decisions and measurements in the journal stay. Trials that were running restart from their
    checkpoints. With one trial at a time, on a CPU, the results are those of a run that was never
    stopped.

    A run may become wider: more search.trials, confirm.seeds, datasets or backbones, another
    budget.hours or budget.cost, other resources. Changes that would make its trials incomparable
    are refused. Seeds added after a look at the test images make the next look stricter.

    Exit codes are those of pcsearch tune; a run with nothing left to do prints its table.
    """
    ctrl_c.nothing_to_clean_up()
    from pcsearch import api
    from pcsearch.cli.detach import watch_of
    from pcsearch.errors import UserError
    from pcsearch.recipe.overrides import split_arguments

    names, overrides = split_arguments(arguments or [])
    if len(names) > 1:
        raise UserError(f"resume takes one run, but {len(names)} are named: {names}")
    run = names[0] if names else None
    with (
        ctrl_c.told_as(ctrl_c.BEFORE_RESUME) as told,
        watch_of(detach, plain=plain, events=events) as watch,
    ):
        outcome = api.resume(
            run,
            overrides,
            runs=runs,
            address=address,
            allow_code=allow_code or (),
            observer=watch.observer,
        )
        watch.ended(outcome)
        told.words = ctrl_c.AFTER_RESULTS
    raise typer.Exit(watch.exit_code)
