"""Turns a tree into a recipe, or reports everything that is wrong with it.

A key that fails its own check is removed (a required one gets a placeholder), and the rest is
checked. So one run reports all mistakes. Checks between keys ignore such a key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pcsearch.errors import did_you_mean
from pcsearch.recipe.checks import CHECKS, Check
from pcsearch.recipe.effect import without_effect
from pcsearch.recipe.problems import (
    MOST_PROBLEMS,
    KeyPath,
    Problem,
    RecipeError,
    RecipeFinding,
    Where,
    dotted,
    in_order,
    show,
    suggest,
)
from pcsearch.recipe.schema import Recipe
from pcsearch.recipe.source_tree import Tree, distance
from pcsearch.training.config import MOST_EPOCHS


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
KEYS[()] += ("extends",)
"""Path of a mapping → the keys it takes."""


_CLOSE = 0.75
"""Share of common letters of a mistyped key with the one that is meant."""


def _unknown_key(path: KeyPath) -> str:
    """The message for an unknown key.

    It names a near key of the same section, or the same key of another one, else all known here.
    """
    parent, word = path[:-1], str(path[-1])
    siblings = next((KEYS[known] for known in KEYS if _matches(known, parent)), ())
    hint = did_you_mean(word, siblings, _CLOSE) or _elsewhere(word) or did_you_mean(word, siblings)
    if not hint and siblings:
        hint = f" (known here: {', '.join(siblings)})"
    return f"unknown key{hint}"


def _matches(known: tuple[str, ...], path: KeyPath) -> bool:
    return len(known) == len(path) and all(
        name in ("*", part) for name, part in zip(known, path, strict=True)
    )


def _elsewhere(word: str) -> str:
    """The full names of keys of this name in other sections."""
    sections = sorted((path for path in KEYS if "*" not in path), key=len)
    homes = [f'"{dotted((*path, word))}"' for path in sections if word in KEYS[path]]
    return f", did you mean {' or '.join(homes)}?" if homes else ""


_STAND_INS: dict[KeyPath, Any] = {
    ("name",): "recipe",
    ("datasets",): ["digits"],
    ("backbones",): ["resnet50"],
    ("asha",): {"max_epochs": MOST_EPOCHS},
    ("asha", "max_epochs"): MOST_EPOCHS,
}
"""Placeholders of required keys while the other keys are checked."""

_EXAMPLES = {"datasets": "[digits]", "backbones": "[resnet50]", "asha.max_epochs": "9"}

WANTED = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string": "text",
    "model": "a mapping of keys",
    "dict": "a mapping of keys",
    "list": "a list",
    "tuple": "a list",
}
"""Families of pydantic's error types → what the key takes."""

_BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}

ROUNDS = 8


def validate(
    tree: Tree, skip: tuple[Check, ...] = (), files: Sequence[str] = ()
) -> tuple[Recipe, list[Problem]]:
    """The recipe of a tree, without the checks in `skip`; and its keys of little effect.

    `files` are the sources of its files: each precedes those that it extends.

    Raises:
        RecipeError: lists all problems.
    """
    data = tree.plain()
    if not isinstance(data, dict):
        message = f"is {show(data)}, but a recipe is a mapping of keys"
        raise RecipeError([Problem(tree.where, "", message)])
    problems: list[Problem] = []
    healed: set[KeyPath] = set()
    recipe: Recipe | None = None
    for _ in range(ROUNDS):
        try:
            recipe = Recipe.model_validate(data)
            break
        except ValidationError as error:
            for details in error.errors(include_url=False)[: MOST_PROBLEMS + 1]:
                path = _written(tree, tuple(details["loc"]))
                if path not in healed:
                    where = _blamed(tree, (path,), files)
                    problems.append(Problem(where, dotted(path), explain(details)))
                healed.add(_heal(data, path))
            if len(problems) > MOST_PROBLEMS:
                break
    notes: list[Problem] = []
    if recipe is not None:
        found = (check(recipe) for check in CHECKS if check not in skip)
        nowhere, partly = without_effect(recipe, tree, files)
        for findings in (*found, nowhere):
            problems += _problems(findings, tree, healed, files)
        notes += _problems(partly, tree, healed, files)
    if problems or recipe is None:
        raise RecipeError(in_order(problems))
    return recipe, notes


def _blamed(tree: Tree, paths: Sequence[KeyPath], files: Sequence[str]) -> Where:
    """Where the mistake of a key was made, if other keys may have made it one.

    The key nearest to the user was written last, for a recipe that had no such mistake.
    """
    written = [at.nearest(files) for path in paths if (at := tree.at(path)) is not None]
    if tree.at(paths[0]) is None:
        written.insert(0, tree.place(paths[0]))
    return min(written, key=lambda where: distance(where, files))


def _written(tree: Tree, path: KeyPath) -> KeyPath:
    """The path without the parts that pydantic adds below a value (the type it tried)."""
    for depth in range(len(path)):
        above = tree.at(path[:depth])
        if above is not None and not isinstance(above.value, dict | list):
            return path[:depth]
    return path


def explain(details: ErrorDetails) -> str:
    """Word one of pydantic's errors in terms of the recipe."""
    kind, value = details["type"], show(details["input"])
    context = details.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(tuple(details["loc"]))
    if kind == "missing":
        key = dotted(tuple(details["loc"]))
        example = _EXAMPLES.get(key)
        return f"missing: every recipe needs it, as in {key}={example}" if example else "missing"
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        expected = re.findall(r"'([^']*)'|(True|False)", str(context["expected"]))
        known = tuple(name or flag.lower() for name, flag in expected)
        hint = suggest(str(details["input"]), known) if len(known) > 1 else ""
        hint = hint if hint.startswith(",") else ""
        one = "one of " if len(known) > 2 else ""
        return f"is {value}, but must be {one}{', '.join(known)}{hint}"
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return f"is {value}, but must be {words} {show(context[name])}"
    family = kind.split("_")[0]
    return f"is {value}, but must be {WANTED.get(family, details['msg'])}"


def _problems(
    findings: Iterable[RecipeFinding], tree: Tree, healed: set[KeyPath], files: Sequence[str]
) -> Iterator[Problem]:
    for finding in islice(findings, MOST_PROBLEMS):
        paths = (finding.path, *finding.needs)
        if not any(_touches(path, healed) for path in paths):
            yield Problem(_blamed(tree, paths, files), dotted(finding.path), finding.message)


def _touches(path: KeyPath, healed: set[KeyPath]) -> bool:
    """Whether a healed key is `path`, above it or (except for the root's) below it."""
    return any(path[: len(other)] == other or other[: len(path)] == path for other in healed)


def _heal(data: dict[str, Any], path: KeyPath) -> KeyPath:
    """Remove the mistaken key from `data` or put a placeholder; returns the changed path."""
    keys = [str(part) for part in path]
    parent: Any = data
    for depth, key in enumerate(keys):
        here = path[: depth + 1]
        last = depth == len(keys) - 1 or not isinstance(parent.get(key), dict)
        if not last:
            parent = parent[key]
            continue
        if here in _STAND_INS:
            parent[key] = _STAND_INS[here]
        else:
            parent.pop(key, None)
        return here
    return path
