"""Paths in a recipe: as written they are relative to where the command was given."""

from __future__ import annotations

from pathlib import Path

from pcsearch.recipe.load import load_recipe
from pcsearch.recipe.schema import Recipe


def with_absolute_paths(recipe: Recipe) -> Recipe:
    """The recipe as any process may read it, wherever that process was started."""

    def absolute(path: str) -> str:
        return str(Path(path).expanduser().absolute())

    def weights(value: str) -> str:
        return value if value in ("imagenet", "none") else absolute(value)

    content = recipe.to_mapping()
    stated = recipe.weights
    content["weights"] = (
        weights(stated)
        if isinstance(stated, str)
        else {backbone: weights(value) for backbone, value in stated.items()}
    )
    for key in ("root", "images", "manifest"):
        if content["data"][key] is not None:
            content["data"][key] = absolute(content["data"][key])
    return load_recipe(content)
