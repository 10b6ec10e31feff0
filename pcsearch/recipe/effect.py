"""Settings that the user gave and that take no effect, because `search` sets them elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pcsearch.recipe.origins import searched_at
from pcsearch.recipe.overrides import OVERRIDE
from pcsearch.recipe.problems import KeyPath, Problem, Where, dotted
from pcsearch.recipe.schema import Recipe
from pcsearch.recipe.space import SHARED
from pcsearch.recipe.tree import Tree


def without_effect(recipe: Recipe, tree: Tree, files: Sequence[str]) -> list[Problem]:
    """Problems of the `train` keys that a `search` key sets in every trial.

    Told are keys of an override, and those of a file that extends the one with the `search` key:
    their author did not see it. A single file may state both. `files` are the sources of the
    recipe's files, the nearest first.
    """
    problems = []
    for path, setters in _trained(recipe):
        own = tree.at(path)
        if own is None or not setters or None in setters:
            continue
        setter = next(path for path in setters if path is not None)
        other = tree.at(setter)
        nearer = other is not None and _distance(own.where, files) < _distance(other.where, files)
        if nearer or own.where.source.startswith(OVERRIDE):
            key = dotted(setter)
            message = f"has no effect, because {key} sets it: give {key} instead"
            problems.append(Problem(own.where, dotted(path), message))
    return problems


def _trained(recipe: Recipe) -> Iterator[tuple[KeyPath, list[KeyPath | None]]]:
    """Keys under `train`, each with what sets the same value in the trials that it is meant for."""
    for name in SHARED:
        setters = {backbone: searched_at(recipe, backbone, name) for backbone in recipe.backbones}
        own = recipe.train.per_backbone
        shared = [b for b in setters if b not in own or name not in own[b].given()]
        yield ("train", name), [setters[backbone] for backbone in shared]
        for backbone in own:
            if backbone in setters:
                yield ("train", "per_backbone", backbone, name), [setters[backbone]]


def _distance(where: Where, files: Sequence[str]) -> int:
    """0 for what was given beside the files, else the number of files that come before."""
    return 1 + files.index(where.source) if where.source in files else 0
