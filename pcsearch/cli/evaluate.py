"""`pcsearch evaluate`: a run's networks on a second, labelled set of images."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pcsearch.cli.options import RUNS, AllowCode, Json, Runs, Source, Study, examples

_EXIT_UNREADABLE = 1
EPILOG = examples(
    "pcsearch evaluate first-try ~/new-birds",
    "pcsearch evaluate first-try new-birds.csv --json",
    "pcsearch evaluate exported-birds ~/new-birds",
)
_Set = Annotated[
    str,
    typer.Argument(
        metavar="FOLDER|MANIFEST",
        help="Folder with one sub-folder a class, or a CSV or Parquet file with the columns path "
        "and label. Of a set with parts, the test images are measured.",
        show_default=False,
    ),
]


def evaluate(
    source: Source,
    labelled: _Set,
    study: Study = None,
    arm: Annotated[
        str | None,
        typer.Option(
            metavar="ARM",
            help="Arm whose network is measured; by default all whose weights are kept.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
    runs: Runs = RUNS,
    allow_code: AllowCode = None,
) -> None:
    """Measure the networks of a run on a second, labelled set of images.

    Prints the accuracy of every arm whose weights are kept, with its 95 % interval, also by class,
    and the difference to the control on the same images. The set may have some of the classes
    alone. Case, spaces, hyphens and leading numbers in their names do not matter.

    Exit codes: 0 done, 1 an image cannot be read, 2 a mistake in the input.
    """
    from pcsearch import api
    from pcsearch.cli.console import console, write_json
    from pcsearch.cli.data.progress import show_progress
    from pcsearch.cli.views.evaluate import evaluation_view

    with show_progress(sys.stderr) as progress:
        result = api.evaluate(
            source,
            labelled,
            study=study,
            arm=arm,
            runs=runs,
            allow_code=allow_code or (),
            progress=progress.counted,
        )
    if as_json:
        write_json(result.to_json(), indent=2)
    else:
        console().print(evaluation_view(result))
    raise typer.Exit(_EXIT_UNREADABLE if result.unreadable else 0)
