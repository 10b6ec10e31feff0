"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from pcsearch.cli import completion

Recipes = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RECIPE... [KEY=VALUE]...",
        help="Recipe files, or names from [bold]pcsearch recipes ls[/]; and overrides of their "
        "keys, such as search.trials=20.",
        show_default=False,
        autocompletion=completion.recipes_and_keys,
    ),
]
Images = Annotated[
    Path | None,
    typer.Option(
        "--images",
        metavar="DIR",
        help="Folder of your own images, one sub-folder a class. Without a recipe, it uses "
        "my-images, or my-images-cpu if trials run here without a GPU.",
    ),
]
Runs = Annotated[
    str,
    typer.Option(
        "--runs",
        metavar="DIR",
        help="Folder that holds the runs, or s3://BUCKET/PREFIX.",
        envvar="PCSEARCH_RUNS",
    ),
]
Run = Annotated[
    str | None,
    typer.Argument(
        metavar="[RUN]",
        help="Folder or s3:// address of a run, or its name under --runs; by default the latest "
        "run.",
        show_default=False,
        autocompletion=completion.runs,
    ),
]
Source = Annotated[
    str,
    typer.Argument(
        metavar="RUN|DIR",
        help="Folder or s3:// address of a run, or its name under --runs; or a folder that "
        "[bold]pcsearch export[/] wrote.",
        show_default=False,
        autocompletion=completion.runs,
    ),
]
Study = Annotated[
    str | None,
    typer.Option(
        "--study",
        metavar="STUDY",
        help="Study of the run, as DATASET/BACKBONE; its data set or backbone is enough if that "
        "names one study. Not needed if there is only one.",
        show_default=False,
    ),
]
Arm = Annotated[
    str | None,
    typer.Option(
        "--arm",
        metavar="ARM",
        help="Arm whose network is used; by default the one with the better test results in the "
        "run.",
        show_default=False,
    ),
]
Plain = Annotated[bool, typer.Option("--plain", help="Print plain lines instead of the live view.")]
Events = Annotated[
    bool,
    typer.Option(
        "--events",
        help="Print JSON for programs instead of view and table: one object a line for each step, "
        "epoch and decision.",
    ),
]
Detach = Annotated[
    bool,
    typer.Option(
        "--detach",
        help="Run the campaign in a process of its own, which survives this terminal. The command "
        "returns once the campaign has begun. pcsearch attach follows it, pcsearch stop ends it.",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="HOST:PORT of the head of a running Ray cluster, or auto for the cluster of this "
        "machine; by default, this machine alone."
    ),
]
AllowCode = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-code",
        metavar="MODULE",
        help="Module that the recipe may import for networks and losses written module:function. "
        "It is code: read it first. [bold]installed:NAME[/] allows a package from site-packages. "
        "The variable PCSEARCH_ALLOW_CODE does the same.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]

RUNS = "runs"


def examples(*lines: str) -> str:
    """An epilog with each example on its own line."""
    from rich.markup import escape

    return "\n".join(["[bold]Examples[/]", *(f"  {escape(line)}" for line in lines)])


def register(
    app: typer.Typer, name: str, command: Callable[..., None], epilog: str | None = None
) -> None:
    """Add a command; the terminal wraps the paragraphs of its docstring."""
    paragraphs = (command.__doc__ or "").split("\n\n")
    text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    app.command(name, help=text, epilog=epilog)(command)
