"""`pcsearch cluster check`: problems of a cluster file, before it costs money."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pcsearch.cli import completion
from pcsearch.cli.cluster.options import Price
from pcsearch.cli.options import Json, examples
from pcsearch.errors import UserError

if TYPE_CHECKING:
    from pcsearch.cluster.files.cluster_file import Finding
    from pcsearch.recipe.schema import Recipe

EPILOG = examples(
    "pcsearch cluster check cluster.yaml cub200 data.root=/home/ubuntu/data",
    "pcsearch cluster check cluster.yaml --price head=0.10 --price gpu-spot=0.45 "
    "--price gpu-on-demand=1.01",
    "pcsearch cluster check clusters/kuberay.yaml my.yaml --runs s3://my-bucket/runs --json",
)


def check(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="File for `ray up`, or manifest for KubeRay.")
    ],
    recipes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RECIPE... [KEY=VALUE]...",
            help="Recipes to run there.",
            show_default=False,
            autocompletion=completion.recipes_and_keys,
        ),
    ] = None,
    runs: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where to store runs: s3://..., or a folder that all nodes share.",
        ),
    ] = None,
    price: Price = None,
    as_json: Json = False,
) -> None:
    """Show the problems of a cluster file, without starting anything.

    Checks that Ray accepts the file, that all values are filled in, and how many trials have room
    at once. Also checks open ports, the token, files to copy, shared storage, versions, credentials
    and price. Uses no network.

    Exit codes: 0 no problem, 2 a problem.
    """
    from pcsearch.cli.console import write_json

    findings = findings_of(file, recipes, runs, price)
    if as_json:
        write_json([vars(finding) for finding in findings], indent=2)
    else:
        print_findings(findings)
    refuse_problems(file, findings, "")


def findings_of(
    file: Path, recipes: list[str] | None, runs: str | None, prices: list[str] | None
) -> list[Finding]:
    """All findings on a file, for these recipes."""
    from pcsearch.cli.console import note
    from pcsearch.recipe.load import load_recipes

    loaded = load_recipes(recipes, noted=note, here=False) if recipes else []
    return findings_for(file, loaded, runs, known_prices(prices))


def findings_for(
    file: Path, recipes: Sequence[Recipe], runs: str | None, prices: Mapping[str, float]
) -> list[Finding]:
    """All findings on a file, for loaded recipes."""
    from pcsearch.cluster.files.check import check_cluster_file as look
    from pcsearch.cluster.files.cluster_file import load_cluster_file

    config = load_cluster_file(file)
    return list(look(config, folder=Path.cwd(), recipes=recipes, runs=runs, prices=prices))


def print_findings(findings: list[Finding]) -> None:
    """Print one mark and one paragraph per finding."""
    from rich.table import Table
    from rich.text import Text

    from pcsearch.cli.console import console

    marks = {"fine": ("✓", "green"), "warning": ("!", "yellow"), "problem": ("✗", "red")}
    table = Table.grid(padding=(0, 1))
    for finding in findings:
        remedy = (f"\n{finding.remedy}", "dim") if finding.remedy else ""
        table.add_row(Text(*marks[finding.level]), Text.assemble(finding.text, remedy))
    console().print(table)


def refuse_problems(
    file: Path, findings: list[Finding], then: str = "; nothing was started"
) -> None:
    """Raise UserError if there is a problem."""
    problems = sum(finding.level == "problem" for finding in findings)
    if problems:
        raise UserError(f"{file}: {problems} problem{'s' if problems > 1 else ''}{then}")


def known_prices(prices: list[str] | None) -> dict[str, float]:
    """Price of a node-hour by node type, from the options."""
    return dict(map(_price, prices or []))


def _price(text: str) -> tuple[str, float]:
    name, sign, amount = text.rpartition("=")
    try:
        price = float(amount)
    except ValueError:
        price = math.nan
    if not sign or not name or not (math.isfinite(price) and price >= 0):
        raise UserError(f"--price is {text}, but must be a node type and a number: gpu-spot=0.45")
    return name, price
