"""Finds and reads the runs that a recipe names under `search.prior`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pcsearch.data.dataset import Dataset
from pcsearch.errors import UserError
from pcsearch.recipe.fields import expanded
from pcsearch.recipe.problems import show
from pcsearch.recipe.schema import Recipe
from pcsearch.runs.find import Runs, find_run, is_remote
from pcsearch.runs.folder import RunFolder
from pcsearch.search.sampling.start_points import EarlierRun, check_fit


def with_earlier_runs(recipe: Recipe, runs: Runs) -> tuple[Recipe, tuple[EarlierRun, ...]]:
    """The recipe with addresses instead of names of its earlier runs, and these runs.

    Args:
        recipe: As written.
        runs: Where to look for a run that is named without its folder.

    Raises:
        UserError: lists every run that is missing, has no complete event or is damaged.
    """
    found: dict[str, EarlierRun] = {}
    problems: list[str] = []
    for name in recipe.search.prior:
        try:
            folder = _found(name, runs)
            address = str(folder.address)
            found.setdefault(address, EarlierRun(address, folder.trusted_state()))
        except UserError as error:
            problems.append(f"search.prior: {error}")
        except (OSError, ValueError):
            problems.append(f"search.prior: {show(name)} cannot be read as a run folder")
    if problems:
        raise UserError("\n".join(problems))
    search = recipe.search.model_copy(update={"prior": tuple(found)})
    return recipe.model_copy(update={"search": search}), tuple(found.values())


def all_earlier_runs(
    recipes: Sequence[Recipe], runs: Runs
) -> tuple[list[Recipe], list[tuple[EarlierRun, ...]]]:
    """`with_earlier_runs` of several recipes: the recipes, and the runs of each."""
    both = [with_earlier_runs(recipe, runs) for recipe in recipes]
    return [recipe for recipe, _ in both], [earlier for _, earlier in both]


def check_earlier_runs(
    recipes: Sequence[Recipe],
    opened: Sequence[Mapping[str, Dataset]],
    earlier: Sequence[Sequence[EarlierRun]],
) -> None:
    """Check, before images are decoded, that the earlier runs fit; UserError if not."""
    for recipe, datasets, priors in zip(recipes, opened, earlier, strict=True):
        check_fit(recipe, {name: one.num_classes for name, one in datasets.items()}, priors)


def _found(name: str, runs: Runs) -> RunFolder:
    """A run by its address, its folder, or its name under `runs`."""
    if is_remote(name):
        return find_run(name, runs)
    path = expanded(name)
    if (path / "journal.jsonl").is_file():
        return find_run(str(path), Path())
    return find_run(name, runs)
