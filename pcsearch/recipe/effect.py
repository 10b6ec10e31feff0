"""Keys that a recipe states in vain, because another key sets the same value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pcsearch.recipe.extend import searched_at
from pcsearch.recipe.fields import Section
from pcsearch.recipe.overrides import OVERRIDE
from pcsearch.recipe.problems import KeyPath, RecipeFinding, dotted
from pcsearch.recipe.schema import Recipe, SpaceValues
from pcsearch.recipe.search_space import SHARED
from pcsearch.recipe.sections import ImageSize, TrainValues
from pcsearch.recipe.source_tree import Tree, distance


@dataclass(frozen=True)
class _Outranked:
    """A key, the datasets or backbones to which it applies, and the key that wins in each.

    `strict` is for exceptions: a recipe states both on purpose, so the winning key counts only if
    the other one is nearer to the user.
    """

    path: KeyPath
    winners: dict[str, KeyPath | None]
    strict: bool = True


def without_effect(
    recipe: Recipe, tree: Tree, files: Sequence[str]
) -> tuple[list[RecipeFinding], list[RecipeFinding]]:
    """The keys without any effect, and those without effect on some datasets or backbones.

    Reported are keys of an override, and keys of a file that extends the file with the winning
    key, whose author may not have seen it. A single file may state both. `files` are the sources of
    the recipe's files, nearest first.
    """
    nowhere: list[RecipeFinding] = []
    partly: list[RecipeFinding] = []
    for key in _outranked(recipe):
        own = tree.at(key.path)
        beaten = _beaten(key, own, tree, files) if own else {}
        if not beaten:
            continue
        winners = list(dict.fromkeys(dotted(winner) for winner in beaten.values()))
        sets = f"{' and '.join(winners)} {'sets' if len(winners) == 1 else 'set'} it"
        if everywhere := len(beaten) == len(key.winners):
            message = f"has no effect, because {sets}: give {' and '.join(winners)} instead"
        else:
            message = f"has no effect on {', '.join(beaten)}, because {sets} there"
        finding = RecipeFinding(key.path, message, tuple(beaten.values()))
        (nowhere if everywhere else partly).append(finding)
    return nowhere, partly


def _beaten(key: _Outranked, own: Tree, tree: Tree, files: Sequence[str]) -> dict[str, KeyPath]:
    """The datasets or backbones in which another key wins, and that key."""
    where = own.nearest(files)
    always = where.source.startswith(OVERRIDE) and not key.strict
    beaten = {}
    for name, winner in key.winners.items():
        other = tree.at(winner) if winner else None
        nearer = other and distance(where, files) < distance(other.nearest(files), files)
        if winner and (always or nearer):
            beaten[name] = winner
    return beaten


def _outranked(recipe: Recipe) -> Iterator[_Outranked]:
    """Every key that another key may outrank, with the winners."""
    for name in SHARED:
        setters = {backbone: searched_at(recipe, backbone, name) for backbone in recipe.backbones}
        own = recipe.train.per_backbone
        shared = [b for b in setters if b not in own or name not in own[b].given()]
        yield _Outranked(("train", name), {b: setters[b] for b in shared}, strict=False)
        for backbone in own:
            if backbone in setters:
                path = ("train", "per_backbone", backbone, name)
                yield _Outranked(path, {backbone: setters[backbone]}, strict=False)
    for key in ImageSize.model_fields:
        yield _exceptions(recipe.image, ("image", "per_dataset"), recipe.datasets, key)
    for key in TrainValues.model_fields:
        yield _exceptions(recipe.train, ("train", "per_backbone"), recipe.backbones, key)
    for key in SpaceValues.model_fields:
        if recipe.search.grid and key in recipe.search.grid:
            grid: KeyPath = ("search", "grid", key)
            yield _Outranked(("search", key), dict.fromkeys(recipe.backbones, grid))
        else:
            yield _exceptions(recipe.search, ("search", "per_backbone"), recipe.backbones, key)


def _exceptions(
    section: Section, place: tuple[str, str], names: Sequence[str], key: str
) -> _Outranked:
    """A key of a section, and the other values that its exceptions for single `names` state."""
    winners: dict[str, KeyPath | None] = dict.fromkeys(names)
    for name, exception in getattr(section, place[1]).items():
        given = exception.given()
        if name in winners and key in given and given[key] != getattr(section, key):
            winners[name] = (*place, name, key)
    return _Outranked((place[0], key), winners)
