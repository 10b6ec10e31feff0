"""`pcsearch export`: a trained network as a folder that others can use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pcsearch.cli import completion
from pcsearch.cli.options import RUNS, AllowCode, Arm, Runs, Study, examples

EPILOG = examples(
    "pcsearch export first-try --to exported-birds",
    "pcsearch export first-try --arm pc --to exported-birds --onnx",
)
_Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="Folder or s3:// address of a run, or its name under --runs.",
        show_default=False,
        autocompletion=completion.runs,
    ),
]


def export(
    run: _Run,
    to: Annotated[
        Path,
        typer.Option("--to", metavar="DIR", help="New or empty folder.", show_default=False),
    ],
    study: Study = None,
    arm: Arm = None,
    onnx: Annotated[
        bool,
        typer.Option("--onnx", help="Also write model.onnx; needs pip install 'pcsearch\\[onnx]'."),
    ] = False,
    runs: Runs = RUNS,
    allow_code: AllowCode = None,
) -> None:
    """Write a trained network to a folder that others can use without the run.

    The folder has the weights (safetensors), config.json with network, preprocessing and hashes,
    the class names, a model card (README.md) and predict.py. For torchvision's networks this script
    needs torch, torchvision and safetensors alone. timm loads the folder of one of its networks.

    pcsearch predict and evaluate take the folder in place of a run. They refuse it if a file is
    missing or was changed; only README.md may be edited.
    """
    from pcsearch import api

    result = api.export(
        run, to, study=study, arm=arm, onnx=onnx, runs=runs, allow_code=allow_code or ()
    )
    typer.echo(result.why)
    typer.echo(f"{result.folder}: written ({', '.join(result.files)})")
    for line in result.notes:
        typer.echo(line)
    typer.echo("Look at README.md before you give it away: data, numbers, limits, licences.")
