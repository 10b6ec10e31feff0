"""`pcsearch data verify`: check a dataset before a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pcsearch.cli import completion
from pcsearch.cli.data.options import ROOT, Instance, Level, Manifest, OwnImages, Root
from pcsearch.cli.options import Json, examples

_EXIT_PROBLEMS = 1
EPILOG = examples(
    "pcsearch data verify cub200",
    "pcsearch data verify --images ~/birds --write-manifest birds.csv",
    "pcsearch data verify aircraft --level family --json",
)


def verify(
    dataset: Annotated[
        str | None,
        typer.Argument(
            metavar="ID",
            help="Dataset id; not needed with --images or --manifest.",
            show_default=False,
            autocompletion=completion.dataset_ids,
        ),
    ] = None,
    root: Root = ROOT,
    images: OwnImages = None,
    manifest: Manifest = None,
    level: Level = None,
    instance: Instance = None,
    write_manifest: Annotated[
        Path | None,
        typer.Option(
            "--write-manifest",
            metavar="FILE",
            help="Manifest to write; near-duplicates form groups there, which no split divides.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Read every image of a dataset and show its problems.

    Looks for unreadable images, wrong counts, copies of training images among test images, boxes
    beyond their image, and more.

    Exit codes: 0 fine, 1 problems were found, 2 a mistake in the input.
    """
    from pcsearch.cli.console import console, write_json
    from pcsearch.cli.data.options import chosen_dataset
    from pcsearch.cli.data.progress import show_progress

    entry, options = chosen_dataset(dataset, root, images, manifest, level, instance)

    from pcsearch.cli.views.verify import report_view
    from pcsearch.data.verify import check_writable, inspect, report_on
    from pcsearch.data.verify import write_manifest as write

    if write_manifest is not None:
        check_writable(write_manifest)
    with show_progress(sys.stderr) as progress:
        inspected = inspect(entry.id, options, progress=progress.counted)
    report = report_on(inspected)
    if as_json:
        write_json(report.to_json(), indent=2)
    else:
        console().print(report_view(report))
    if write_manifest is not None:  # last: a failure must not hide the report
        lines = write(inspected, write_manifest)
        left_out = report.images - lines
        sys.stderr.write(
            f"{write_manifest}: written, {lines:,} images"
            + (f" (without {left_out:,} unreadable ones)" if left_out else "")
            + "; copies of one picture share a group. Train on it with: pcsearch tune my-manifest "
            f"data.manifest={write_manifest}\n"
        )
    raise typer.Exit(0 if report.ok else _EXIT_PROBLEMS)
