"""What must hold between the keys of the `search` section."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pcsearch.recipe.arms import ARMS, COMPETITORS, CONTROL
from pcsearch.recipe.finding import Finding
from pcsearch.recipe.problems import KeyPath, suggest
from pcsearch.recipe.schema import Recipe
from pcsearch.recipe.show import show
from pcsearch.recipe.space import DIMENSIONS, SHARED


def check_arms(recipe: Recipe) -> Iterator[Finding]:
    """Arms are known competitors, and there is something to compare."""
    path: KeyPath = ("search", "arms")
    for index, name in enumerate(recipe.search.arms):
        if name == CONTROL:
            message = "holds control: search.control says whether the control runs; leave it out"
            yield Finding((*path, index), message)
        elif name not in ARMS:
            message = f"unknown arm {show(name)}{suggest(name, COMPETITORS)}"
            yield Finding((*path, index), message)
    if not recipe.search.arms and recipe.search.control != "matched":
        control = show(recipe.search.control)
        message = f"is empty, but search.control {control} needs at least one arm, as in [pc]"
        yield Finding(path, message, (("search", "control"),))


def check_grid(recipe: Recipe) -> Iterator[Finding]:
    """The grid sampler has values for everything searched; no other sampler has a grid."""
    grid, sampler = recipe.search.grid, recipe.search.sampler
    path: KeyPath = ("search", "grid")
    if grid is None:
        if sampler == "grid":
            message = (
                "is grid, but search.grid does not state the values to try, as in "
                "grid: {lambda_over_n: [0.05, 0.1, 0.15], lr: [0.01, 0.1]}"
            )
            yield Finding(("search", "sampler"), message, (path,))
        return
    if sampler != "grid":
        message = f"is given, but search.sampler is {show(sampler)}: use sampler grid or leave it"
        yield Finding(path, f"{message} out", (("search", "sampler"),))
    for key in grid:
        if key not in DIMENSIONS:
            known = tuple(DIMENSIONS)
            yield Finding((*path, key), f"is not a key to search{suggest(key, known)}")
    if sampler == "grid":
        keys = sorted({key for b in recipe.backbones for key in _ranges(recipe, b)})
        for key in keys:
            message = f"has no values for {key}, which search.{key} states as a range"
            if key == "lr" and recipe.measures_lr:
                message = (
                    f"has no values for {key}: search.{key} is auto, a measured range, and "
                    "sampler grid needs values, as in grid: {lr: [0.01, 0.1]}"
                )
            yield Finding(path, message, (("search", key), ("search", "sampler"), ("backbones",)))


def check_trials(recipe: Recipe) -> Iterator[Finding]:
    """The number of trials covers the random start, and every point of the grid."""
    search, trials = recipe.search, recipe.search.trials
    startup = search.startup_trials
    if startup is not None and startup > trials:
        message = f"is {startup}, but must be at most search.trials ({trials})"
        yield Finding(("search", "startup_trials"), message, (("search", "trials"),))
    if search.sampler != "grid" or not search.grid or not set(search.grid) <= set(DIMENSIONS):
        return
    sizes = [
        (_points(recipe, backbone, name), name)
        for backbone in recipe.backbones
        for name in _searching(recipe)
    ]
    points, name = max(sizes, default=(0, ""), key=lambda size: size[0])
    if points > trials:
        message = f"is {trials}, but the grid has {points} points for {name}"
        needs: tuple[KeyPath, ...] = (("search", "grid"), ("search", "sampler"), ("search", "arms"))
        advice = f"give search.trials={points}, or fewer values in search.grid"
        yield Finding(("search", "trials"), f"{message}: {advice}", needs)


def check_prior(recipe: Recipe) -> Iterator[Finding]:
    """Start points of earlier runs need a sampler that takes them, and trials besides them."""
    path: KeyPath = ("search", "prior")
    if not recipe.search.prior:
        return
    if recipe.search.sampler == "grid":
        message = "is given, but search.sampler is grid, which tries its own values: leave one out"
        yield Finding(path, message, (("search", "sampler"),))
    elif recipe.search.trials < 2:
        message = "is given, but search.trials is 1, and at most half of them are start points"
        yield Finding(path, f"{message}: give search.trials=2 or more", (("search", "trials"),))


def _searching(recipe: Recipe) -> list[str]:
    """The arms that have search trials of their own."""
    control = [CONTROL] if recipe.search.control == "matched" else []
    return [*control, *(name for name in recipe.search.arms if name in ARMS)]


def _points(recipe: Recipe, backbone: str, arm: str) -> int:
    """Grid points of an arm; 0 where a range has no points."""
    spaces = recipe.space_for(backbone, arm).values()
    if any(space.kind in ("range", "auto") for space in spaces):
        return 0
    return math.prod(len(space.choices or (space.value,)) for space in spaces)


def _ranges(recipe: Recipe, backbone: str) -> Iterator[str]:
    """Keys of the dimensions that are still ranges under a grid."""
    names = [CONTROL, *recipe.search.arms]
    for arm in (ARMS[name] for name in names if name in ARMS):
        for name, space in recipe.space_for(backbone, arm).items():
            if space.kind in ("range", "auto"):
                yield name if name in SHARED else str(arm.search_key)
