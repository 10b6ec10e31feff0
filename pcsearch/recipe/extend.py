"""Which changes of a recipe a resumed campaign takes: it may only become wider."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pcsearch.errors import UserError
from pcsearch.recipe.problems import KeyPath, show
from pcsearch.recipe.schema import Recipe
from pcsearch.recipe.search_space import Number


def searched_at(recipe: Recipe, backbone: str, name: str) -> KeyPath | None:
    """The key under `search` that sets `name` in every trial of a backbone, None if `train` does.

    `name` is one of `search_space.SHARED`. Keys are tried in order of precedence.
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


def largest_of(recipe: Recipe, backbone: str, name: str) -> tuple[KeyPath, Number]:
    """The key that states shared hyperparameter `name`, and its largest value in any trial."""
    path = searched_at(recipe, backbone, name)
    if path is None:
        value: Number = recipe.train_for(backbone)[name]
        return trained_at(recipe, backbone, name), value
    return path, recipe.space_for(backbone, "control")[name].highest


FREE = frozenset(
    {
        "data.root",
        "data.images",
        "data.manifest",
        "data.allow_pretraining_overlap",
        "budget.hours",
        "budget.cost",
        "budget.price_per_node_hour",
    }
)
"""Keys on which no measurement depends: where files are, how long to run, what was acknowledged.

The content of images that have moved is checked to be the same.
"""

_FREE_SECTIONS = ("resources.",)
_GROWING = ("search.trials", "confirm.seeds")
_OF_ITEMS = (
    "weights", "backbone_options", "image.per_dataset", "train.per_backbone",
    "search.per_backbone", "search.startup_trials", "data.levels",
)  # fmt: skip
_REASONS = {
    "image": "another preparation makes other images",
    "data": "trials on other images, classes or splits are not comparable",
    "search": "the trials so far depend on their arms, ranges and sampler",
    "asha": "it would change the rungs at which trials were stopped so far",
    "finalists": "the choices so far depend on it",
    "confirm": "the confirmed seeds so far were trained with it",
    "train": "trials with other training settings are not comparable",
    "metric": "the trials so far were judged by it",
    "name": "it names the run",
}


def check_extension(before: Recipe, after: Recipe) -> None:
    """Check that a campaign of the recipe `before` can be resumed as `after`.

    Raises:
        UserError: lists every change that it cannot take, with the reason.
    """
    problems = [*_lost(before, after), *_smaller(before, after), *_other(before, after)]
    if problems:
        what = "this change" if len(problems) == 1 else "these changes"
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise UserError(
            f"a started campaign cannot take {what}:\n{lines}\n"
            "start a new run for that: pcsearch tune, with another --name"
        )


def _lost(before: Recipe, after: Recipe) -> Iterator[str]:
    for key in ("datasets", "backbones"):
        missing = [item for item in getattr(before, key) if item not in getattr(after, key)]
        if missing:
            names = ", ".join(missing)
            yield f"{key}: {names} would be removed; you can only add to it"


def _smaller(before: Recipe, after: Recipe) -> Iterator[str]:
    old, new = flat(before.to_mapping()), flat(after.to_mapping())
    for key in _GROWING:
        if new[key] < old[key]:
            yield f"{key}: is {old[key]} and cannot become {new[key]}; it can only grow"


def _other(before: Recipe, after: Recipe) -> Iterator[str]:
    old, new = flat(before.to_mapping()), flat(after.to_mapping())
    told = set()
    for key in sorted(old.keys() | new.keys()):
        if key in FREE or key in _GROWING or key in ("datasets", "backbones"):
            continue
        if key.startswith((*_FREE_SECTIONS, *_OF_ITEMS)):
            continue
        if old.get(key) != new.get(key):
            section = key.partition(".")[0]
            told.add(section)
            reason = _REASONS.get(section, "the measurements so far depend on it")
            yield f"{key}: is {show(old.get(key))}, not {show(new.get(key))}: {reason}"
    # settings of new datasets and new backbones are free
    for key, reason in (*_of_datasets(before, after), *_of_backbones(before, after)):
        if key.partition(".")[0] not in told:
            yield f"{key}: {reason}"


def _of_datasets(before: Recipe, after: Recipe) -> Iterator[tuple[str, str]]:
    for dataset in before.datasets:
        if before.image_for(dataset) != after.image_for(dataset):
            yield f"image.per_dataset.{dataset}", _REASONS["image"]
        if before.data.levels.get(dataset) != after.data.levels.get(dataset):
            yield f"data.levels.{dataset}", _REASONS["data"]


def _of_backbones(before: Recipe, after: Recipe) -> Iterator[tuple[str, str]]:
    for backbone in before.backbones:
        if backbone not in after.backbones:
            continue
        if before.weights_for(backbone) != after.weights_for(backbone):
            yield "weights", f"{backbone} started with {before.weights_for(backbone)}"
        if before.options_for(backbone) != after.options_for(backbone):
            yield f"backbone_options.{backbone}", "it would change the network"
        if before.train_for(backbone) != after.train_for(backbone):
            yield f"train.per_backbone.{backbone}", _REASONS["train"]
        arms = ["control", *(arm for arm in before.search.arms if arm in after.search.arms)]
        if any(before.space_for(backbone, a) != after.space_for(backbone, a) for a in arms):
            yield f"search.per_backbone.{backbone}", _REASONS["search"]


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """`{"search.trials": 12, ...}` of nested mappings; empty ones, ranges and lists are values."""
    if not isinstance(value, dict) or not value or value.keys() == {"low", "high", "log"}:
        return {prefix: value}
    keys: dict[str, Any] = {}
    for key, inner in value.items():
        keys |= flat(inner, f"{prefix}.{key}" if prefix else str(key))
    return keys
