"""`pcsearch predict`: what a run's network says of images."""

from __future__ import annotations

import csv
import sys
from typing import Annotated, Any

import typer

from pcsearch.cli.options import (
    RUNS,
    AllowCode,
    Arm,
    Json,
    Runs,
    Source,
    Study,
    examples,
)
from pcsearch.errors import UserError

_EXIT_UNREADABLE = 1
_FEW = 64
"""Up to this many images, no progress is shown."""
EPILOG = examples(
    "pcsearch predict first-try photo.jpg",
    "pcsearch predict first-try ~/new-birds --confusion",
    "pcsearch predict first-try ~/new-birds --csv > answers.csv",
    "pcsearch predict exported-birds *.jpg --json",
)
_Images = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE|FOLDER", help="Image files, and folders of any depth.", show_default=False
    ),
]


def predict(
    source: Source,
    images: _Images,
    study: Study = None,
    arm: Arm = None,
    confusion: Annotated[
        bool,
        typer.Option("--confusion", help="Also print what the images of each class are taken for."),
    ] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV, for spreadsheets: one image a line.")
    ] = False,
    as_json: Json = False,
    runs: Runs = RUNS,
    allow_code: AllowCode = None,
) -> None:
    """Print the five likeliest classes of images, by a network that a run has trained.

    The network is that of the first confirm seed. Size, crop and normalisation are those of the
    run. If sub-folders of FOLDER are named as classes, they are taken as labels, and the accuracy
    is printed with its 95 % interval.

    Exit codes: 0 done, 1 an image cannot be read, 2 a mistake in the input.
    """
    from pcsearch import api
    from pcsearch.cli.console import console, write_json
    from pcsearch.cli.data.progress import show_progress
    from pcsearch.cli.views.predict import prediction_view

    if as_csv and as_json:
        raise UserError("--csv and --json exclude each other: give one of them")
    with show_progress(sys.stderr) as progress:
        result = api.predict(
            source,
            images,
            study=study,
            arm=arm,
            runs=runs,
            allow_code=allow_code or (),
            progress=lambda *counted: progress.counted(*counted) if counted[2] > _FEW else None,
        )
    if as_json:
        write_json(result.to_json(), indent=2)
    elif as_csv:
        _write_csv(result)
    if as_csv or as_json:
        for line in (result.why, *result.notes):
            typer.echo(line, err=True)
    else:
        terminal = console()
        terminal.print(prediction_view(result, terminal.width, confusion=confusion))
    raise typer.Exit(_EXIT_UNREADABLE if result.unreadable else 0)


def _write_csv(result: Any) -> None:
    from pcsearch.data.layouts.manifest_table import as_text
    from pcsearch.execution.predict import TOP

    pairs = [(f"class_{place}", f"probability_{place}") for place in range(1, TOP + 1)]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["file", "label", "error", *(name for pair in pairs for name in pair)])
    for one in result.predictions:
        top = [cell for name, p in one.top for cell in (as_text(name), f"{p:.6f}")]
        top += [""] * (2 * TOP - len(top))
        writer.writerow([as_text(one.file), as_text(one.label or ""), one.error or "", *top])
