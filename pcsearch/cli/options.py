"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

Recipes = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RECIPE... [KEY=VALUE]...",
        help="Recipe files, or names that [bold]pcsearch recipes ls[/] lists; and overrides of "
        "their keys, such as search.trials=20.",
        show_default=False,
    ),
]
Images = Annotated[
    Path | None,
    typer.Option(
        "--images",
        metavar="DIR",
        help="A folder of your own images, one sub-folder a class; without a recipe, the shipped "
        "recipe my-images is used.",
    ),
]
Runs = Annotated[
    str,
    typer.Option(
        "--runs",
        metavar="DIR",
        help="The folder that holds the run folders, or s3://BUCKET/PREFIX.",
    ),
]
Run = Annotated[
    str | None,
    typer.Argument(
        metavar="[RUN]",
        help="A run's folder or s3:// address, or its name under --runs; the latest run when left "
        "out.",
        show_default=False,
    ),
]
Plain = Annotated[bool, typer.Option("--plain", help="Plain lines in place of the live view.")]
Events = Annotated[
    bool,
    typer.Option(
        "--events",
        help="One JSON object a line for each step, epoch and decision, for programs that follow; "
        "in place of view and table.",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="HOST:PORT of the head of a running Ray cluster, or auto for the one that this "
        "machine belongs to; by default, this machine alone."
    ),
]
AllowCode = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-code",
        metavar="MODULE",
        help="Let the recipe import MODULE for its networks written module:function. It is code: "
        "look at it first. [bold]installed:NAME[/] allows a package from site-packages. The "
        "variable PCSEARCH_ALLOW_CODE does the same.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]

RUNS = "runs"


def examples(*lines: str) -> str:
    """An epilog that shows each example on a line of its own."""
    from rich.markup import escape

    return "\n".join(["[bold]Examples[/]", *(f"  {escape(line)}" for line in lines)])


def register(
    app: typer.Typer, name: str, command: Callable[..., None], epilog: str | None = None
) -> None:
    """Add a command; the paragraphs of its docstring are wrapped to the terminal."""
    paragraphs = (command.__doc__ or "").split("\n\n")
    text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    app.command(name, help=text, epilog=epilog)(command)
