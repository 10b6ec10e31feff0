"""The keys that a recipe may have, read off the schema; `*` stands for a name of the user's."""

from __future__ import annotations

from typing import get_args

from pydantic import BaseModel

from pcsearch.errors import did_you_mean
from pcsearch.recipe.problems import KeyPath, dotted
from pcsearch.recipe.schema import Recipe


def _walk(model: type[BaseModel], path: tuple[str, ...]) -> dict[tuple[str, ...], tuple[str, ...]]:
    found = {path: tuple(model.model_fields)}
    for name, field in model.model_fields.items():
        below = (*path, name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= _walk(field.annotation, below)
            continue
        for argument in get_args(field.annotation):
            if isinstance(argument, type) and issubclass(argument, BaseModel):
                found |= _walk(argument, (*below, "*"))
    return found


KEYS = _walk(Recipe, ())
"""Mapping's path → the keys it takes."""


def unknown_key(path: KeyPath) -> str:
    """What to say of a key that the recipe does not know, with the nearest one it does."""
    parent, word = path[:-1], str(path[-1])
    siblings = next((KEYS[known] for known in KEYS if _matches(known, parent)), ())
    hint = did_you_mean(word, siblings) or _elsewhere(word)
    if not hint and siblings:
        hint = f" (known here: {', '.join(siblings)})"
    return f"unknown key{hint}"


def _matches(known: tuple[str, ...], path: KeyPath) -> bool:
    return len(known) == len(path) and all(
        name in ("*", part) for name, part in zip(known, path, strict=True)
    )


def _elsewhere(word: str) -> str:
    """The full name of a key that lies in another section, exact names before near ones."""
    homes: dict[str, list[str]] = {}
    for path, names in KEYS.items():
        if "*" not in path:
            for name in names:
                homes.setdefault(name, []).append(dotted((*path, name)))
    for name in (word, did_you_mean(word, homes).removeprefix(', did you mean "')[:-2]):
        if name in homes:
            return f", did you mean {' or '.join(f'{home!r}' for home in homes[name])}?".replace(
                "'", '"'
            )
    return ""
