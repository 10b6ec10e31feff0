"""Which key states the value of a hyperparameter that both `train` and `search` may state."""

from __future__ import annotations

from pcsearch.recipe.problems import KeyPath
from pcsearch.recipe.schema import Recipe
from pcsearch.recipe.space import Number


def searched_at(recipe: Recipe, backbone: str, name: str) -> KeyPath | None:
    """The key under `search` that sets `name` in every trial of a backbone, None if `train` does.

    `name` is one of `space.SHARED`. The order is that of precedence.
    """
    search = recipe.search
    if search.grid and name in search.grid:
        return ("search", "grid", name)
    exceptions = search.per_backbone.get(backbone)
    given = exceptions.given() if exceptions else {}
    if name in given:
        return None if given[name] is None else ("search", "per_backbone", backbone, name)
    return None if getattr(search, name) is None else ("search", name)


def trained_at(recipe: Recipe, backbone: str, name: str) -> KeyPath:
    """The key under `train` that states `name` for a backbone."""
    exceptions = recipe.train.per_backbone.get(backbone)
    if exceptions and name in exceptions.given():
        return ("train", "per_backbone", backbone, name)
    return ("train", name)


def largest(recipe: Recipe, backbone: str, name: str) -> tuple[KeyPath, Number]:
    """The key that states shared hyperparameter `name`, and its largest value in any trial."""
    path = searched_at(recipe, backbone, name)
    if path is None:
        value: Number = recipe.train_for(backbone)[name]
        return trained_at(recipe, backbone, name), value
    return path, recipe.space_for(backbone, "control")[name].highest
