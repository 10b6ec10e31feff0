"""`pcsearch compare`: several runs side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pcsearch.cli import completion
from pcsearch.cli.options import RUNS, Json, Runs, examples
from pcsearch.errors import UserError

if TYPE_CHECKING:
    from pcsearch.reporting.comparison import ComparedRun
    from pcsearch.runs.find import RunFolder

EPILOG = examples(
    "pcsearch compare first-try second-try",
    "pcsearch compare runs/birds runs/cars runs/aircraft --json",
)
CompareRuns = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN",
        help="Folders or s3:// addresses of runs, or their names under --runs.",
        show_default=False,
        autocompletion=completion.runs,
    ),
]


_NOT_COMPARED = ("name", "data.root")
"""Keys that say nothing about results; the hash of images and splits does."""


def compare(chosen: CompareRuns, runs: Runs = RUNS, as_json: Json = False) -> None:
    """Show what differs between runs, and their results side by side.

    Studies of the same dataset and backbone stand together, with each arm's gain and its interval.
    Over several datasets, the mean gain of each arm follows, with Wilcoxon's signed-rank test.
    """
    from pcsearch.cli.console import console, write_json
    from pcsearch.reporting.comparison import compare as compared
    from pcsearch.reporting.comparison import comparison_view
    from pcsearch.runs.find import find_run

    if len(chosen) < 2:
        raise UserError("one run was given: name at least two, as in pcsearch compare first second")
    found = [find_run(name, runs) for name in chosen]
    addresses = [str(folder.address) for folder in found]
    if twice := next((one for one in addresses if addresses.count(one) > 1), None):
        raise UserError(f"{twice} was given twice")
    result = compared([_compared(folder, _name(folder, found)) for folder in found])
    if as_json:
        write_json(result.to_json(), indent=2)
    else:
        terminal = console()
        terminal.print(comparison_view(result, terminal.width))


def _name(folder: RunFolder, all_runs: list[RunFolder]) -> str:
    """The run's name, or its address if another run has the same name."""
    same = sum(one.name == folder.name for one in all_runs)
    return folder.name if same == 1 else str(folder.address)


def _compared(folder: RunFolder, name: str) -> ComparedRun:
    from pcsearch.reporting.comparison import ComparedRun
    from pcsearch.reporting.summary import summarise

    state = folder.state()
    summary = summarise(state, folder.status(state))
    recipe = _recipe(state.recipe or folder.read_text("recipe.yaml"))
    return ComparedRun(name, summary, {"status": summary.status} | recipe | _versions(folder))


def _recipe(text: str | None) -> dict[str, Any]:
    """The recipe's values by dotted key; empty for one that this version cannot read."""
    from pcsearch.recipe.extend import flat
    from pcsearch.recipe.load import parse_recipe

    try:
        values = flat(parse_recipe(text or "").to_mapping())
    except UserError:
        return {}
    return {key: value for key, value in values.items() if key not in _NOT_COMPARED and value != {}}


def _versions(folder: RunFolder) -> dict[str, Any]:
    import json

    try:
        told = json.loads(folder.read_text("environment.json") or "{}")
    except ValueError:
        return {}
    told = told if isinstance(told, dict) else {}
    versions = told.get("versions")
    known = versions if isinstance(versions, dict) else {}
    packages = {f"version of {name}": value for name, value in known.items()}
    return packages | {key: told.get(key) for key in ("python", "weights", "code")}
