"""`pcsearch tune`: run recipes and print what came out."""

from __future__ import annotations

from typing import Annotated

import typer

from pcsearch.cli.options import RUNS, Images, Recipes, Runs, examples

EXIT_FAILED, EXIT_INTERRUPTED = 1, 130
EPILOG = examples(
    "pcsearch tune quickstart",
    "pcsearch tune my.yaml search.trials=30 'search.lr=[0.001, 0.1]' --name first-try",
    "pcsearch tune --images ~/birds",
    "pcsearch tune cub200 --address auto",
)


def tune(
    recipes: Recipes = None,
    images: Images = None,
    runs: Runs = RUNS,
    name: Annotated[
        str | None,
        typer.Option(help="The run's name; by default the recipe's name and the time."),
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Plain lines in place of the live view.")
    ] = False,
    address: Annotated[
        str | None,
        typer.Option(
            help="HOST:PORT of the head of a running Ray cluster, or auto for the one that this "
            "machine belongs to; by default, this machine alone."
        ),
    ] = None,
) -> None:
    """Search λ, confirm it with fresh seeds, print the table.

    Several recipes run one after another; all are checked before the first one starts. Exit
    codes: 0 done, 1 finished with failed studies, 2 a mistake in the input, 130 interrupted.
    """
    from pcsearch import api
    from pcsearch.cli.console import console, observer
    from pcsearch.cli.render import print_summary

    watcher = observer(plain=plain)
    code = 0
    try:
        outcomes = api.tune_all(
            recipes or [], images=images, runs=runs, name=name, address=address, observer=watcher
        )
        for outcome in outcomes:
            print_summary(console(), outcome.summary, outcome.state)
            if outcome.summary.status == "interrupted":
                folder = outcome.folder
                typer.echo(
                    f"interrupted; what was run until then is kept in {folder.path}. It cannot be "
                    "resumed yet: to try again, run the command once more (with another --name)"
                )
                code = EXIT_INTERRUPTED
                break
            if outcome.summary.status == "failed":
                code = EXIT_FAILED
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        code = EXIT_INTERRUPTED
    finally:
        watcher.close()
    raise typer.Exit(code)
