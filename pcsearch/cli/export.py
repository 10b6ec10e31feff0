"""`pcsearch export`: a trained network as a folder for others, or all epochs as a table."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pcsearch.cli import completion
from pcsearch.cli.options import RUNS, AllowCode, Arm, Runs, Study, examples
from pcsearch.errors import UserError

EPILOG = examples(
    "pcsearch export first-try --to exported-birds",
    "pcsearch export first-try --arm pc --to exported-birds --onnx",
    "pcsearch export first-try --table parquet --to epochs.parquet",
    "pcsearch export first-try --table csv --to - | head",
)


class Table(StrEnum):
    """Formats of the table of epochs."""

    PARQUET = "parquet"
    CSV = "csv"


_Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="Folder or s3:// address of a run, or its name under --runs.",
        show_default=False,
        autocompletion=completion.runs,
    ),
]
_To = Annotated[
    Path | None,
    typer.Option(
        "--to",
        metavar="DIR|FILE",
        help="New or empty folder for the network. With --table, a new file, or - for standard "
        "output; by default RUN-epochs.csv or .parquet here.",
        show_default=False,
    ),
]
_Onnx = Annotated[
    bool,
    typer.Option("--onnx", help="Also write model.onnx; needs pip install 'pcsearch\\[onnx]'."),
]
_Table = Annotated[
    Table | None,
    typer.Option(
        "--table",
        metavar="parquet|csv",
        help="Instead of a network, write all epochs of all trials, one row a trial and epoch.",
        show_default=False,
    ),
]


def export(
    run: _Run,
    to: _To = None,
    study: Study = None,
    arm: Arm = None,
    onnx: _Onnx = False,
    table: _Table = None,
    runs: Runs = RUNS,
    allow_code: AllowCode = None,
) -> None:
    """Write a trained network to a folder that others can use without the run.

    The folder has the weights (safetensors), config.json with network, preprocessing and hashes,
    the class names, a model card (README.md) and predict.py. For torchvision's networks this script
    needs torch, torchvision and safetensors alone. timm loads the folder of one of its networks.

    pcsearch predict and evaluate take the folder in place of a run. They refuse it if a file is
    missing or was changed; only README.md may be edited.

    --table writes all trials of the run instead, also while it runs: their configurations, and
    their measures in every epoch.
    """
    if table is not None:
        if study is not None or arm is not None or onnx:
            raise UserError(
                "--table writes all studies and arms: leave out --study, --arm and --onnx"
            )
        _write_table(run, runs, table, to)
        return
    if to is None:
        raise UserError("--to DIR is missing: name a new folder for the network")
    from pcsearch import api

    result = api.export(
        run, to, study=study, arm=arm, onnx=onnx, runs=runs, allow_code=allow_code or ()
    )
    typer.echo(result.why)
    typer.echo(f"{result.folder}: written ({', '.join(result.files)})")
    for line in result.notes:
        typer.echo(line)
    typer.echo("Look at README.md before you give it away: data, numbers, limits, licences.")


def _write_table(run: str, runs: str, table: Table, to: Path | None) -> None:
    from pcsearch.io import replacing
    from pcsearch.reporting.epochs_table import columns_of, epoch_rows, write_csv, write_parquet
    from pcsearch.reporting.notes import journal_notes
    from pcsearch.runs.find import find_run

    folder = find_run(run, runs)
    state = folder.state()
    for line in journal_notes(state):
        typer.echo(line, err=True)
    rows = epoch_rows(state, folder.name)
    if to == Path("-"):
        if table is Table.PARQUET:
            raise UserError("--table parquet is no text: give a file with --to FILE")
        write_csv(rows, sys.stdout)
        return
    path = to or Path(f"{folder.name}-epochs.{table}")
    if path.exists() or path.is_symlink():
        raise UserError(f"{path} exists; choose another file with --to FILE, or remove it")
    if not path.absolute().parent.is_dir():
        raise UserError(f"--to {path}: there is no folder {path.absolute().parent}")
    try:
        with replacing(path) as temporary:
            if table is Table.PARQUET:
                write_parquet(rows, temporary)
            else:
                with temporary.open("w", encoding="utf-8", newline="") as file:
                    write_csv(rows, file)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error
    trials = len({row["trial"] for row in rows})
    columns = len(columns_of(rows))
    typer.echo(f"{path}: written ({len(rows):,} rows of {trials:,} trials, {columns} columns)")
