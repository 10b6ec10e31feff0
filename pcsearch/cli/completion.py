"""What the shell completes: recipes, their keys and values, datasets and runs.

Typer calls these functions with the command line so far. Nothing here imports PyTorch or Ray, and
nothing opens a network connection. An empty list lets the shell complete files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from pcsearch.io import open_regular
from pcsearch.printable import printable

Item = str | tuple[str, str]
"""A completion, perhaps with its explanation."""

_Key = tuple[str, ...]
_ASKED = re.compile(rb'"spec":\{"trial":"([^"\\]{1,500})"')
_NAMED_LISTS = (("datasets",), ("backbones",), ("search", "arms"), ("search", "prior"))
_ENOUGH = 2  # one completion alone gets a space behind it


def runs(ctx: typer.Context, incomplete: str) -> list[Item]:
    """Names of runs, latest first; none for an object store."""
    folder = str(ctx.params.get("runs") or "")
    if not folder or "://" in folder or "/" in incomplete:
        return []
    found = []
    for journal in Path(folder).glob("*/journal.jsonl"):
        name = journal.parent.name
        if name.startswith(incomplete) and printable(name) == name:
            found.append((journal.stat().st_mtime, name))
    return [name for _, name in sorted(found, reverse=True)]


def trials_of_run(ctx: typer.Context, incomplete: str) -> list[Item]:
    """Trials of the run that is named, by its name or its folder; none for an object store."""
    run, folder = str(ctx.params.get("run") or ""), Path(str(ctx.params.get("runs") or ""))
    for journal in (Path(run) / "journal.jsonl", folder / run / "journal.jsonl"):
        if run and "://" not in run and journal.is_file():
            with open_regular(journal) as file:
                asked = (found for line in file if (found := _ASKED.search(line)))
                names = [found[1].decode("ascii", "replace") for found in asked]
            return [name for name in names if incomplete in name and printable(name) == name]
    return []


def running_runs(ctx: typer.Context, incomplete: str) -> list[Item]:
    """Names of the runs that a process runs; of all, if none runs."""
    from pcsearch.runs.driver import LOCK_FILE, is_locked

    named = runs(ctx, incomplete)
    folder = Path(str(ctx.params.get("runs") or ""))
    return [name for name in named if is_locked(folder / str(name) / LOCK_FILE)] or named


def run_and_keys(ctx: typer.Context, incomplete: str) -> list[Item]:
    """A run, then keys to widen it."""
    words = _words(ctx)
    named = [] if words else runs(ctx, incomplete)
    return [*named, *(_overrides(ctx, incomplete) if words or incomplete else [])]


def dataset_ids(ctx: typer.Context, incomplete: str) -> list[Item]:
    """Dataset ids, with what they are."""
    from pcsearch.data.catalog import DATASETS

    entries = DATASETS.items()
    return [(name, entry.title) for name, entry in entries if name.startswith(incomplete)]


def recipe_names(ctx: typer.Context, incomplete: str) -> list[Item]:
    """Shipped recipes, with what they are for."""
    from pcsearch.recipe.load import description, shipped_recipes

    shipped = shipped_recipes().items()
    return [(name, description(file)) for name, file in shipped if name.startswith(incomplete)]


def recipe_files(ctx: typer.Context, incomplete: str) -> list[Item]:
    """Shipped recipes, and recipe files of the current folder."""
    if "/" in incomplete:
        return []
    suffixes = (".yaml", ".yml")
    files = [file.name for file in Path().iterdir() if file.suffix in suffixes and file.is_file()]
    own = [name for name in sorted(files) if name.startswith(incomplete) and name.isprintable()]
    return [*recipe_names(ctx, incomplete), *own]


def recipes_and_keys(ctx: typer.Context, incomplete: str) -> list[Item]:
    """Recipes and, once one is named or a letter is typed, their keys and values."""
    keys = _overrides(ctx, incomplete) if _words(ctx) or incomplete else []
    values = any(isinstance(item, str) and "=" not in item for item in keys)
    return keys if values else [*recipe_files(ctx, incomplete), *keys]


def keys_only(ctx: typer.Context, incomplete: str) -> list[Item]:
    """Keys of a recipe that is named already, and their values."""
    return _overrides(ctx, incomplete)


def id_or_keys(ctx: typer.Context, incomplete: str) -> list[Item]:
    """A dataset id; with --recipe, keys."""
    return (keys_only if ctx.params.get("recipe") else dataset_ids)(ctx, incomplete)


def _words(ctx: typer.Context) -> list[str]:
    """The arguments so far of the command's list of recipes, keys and others."""
    return next((value for value in ctx.params.values() if isinstance(value, list)), [])


def _overrides(ctx: typer.Context, incomplete: str) -> list[Item]:
    """`KEY=`, or `KEY=VALUE` once the key is whole."""
    from pcsearch.recipe.json_schema import recipe_schema

    leaves = dict(_leaves(recipe_schema(), ()))
    # Bash splits words at "=": the key, and perhaps the "=", are words of their own.
    before = [word for word in _words(ctx)[-2:] if word != "="]
    if before and (key := tuple(before[-1].split("."))) in leaves:
        return list(_values(ctx, key, leaves[key], incomplete))
    name, equals, value = incomplete.partition("=")
    if equals:
        node = leaves.get(_with_stars(name))
        values = _values(ctx, _with_stars(name), node, value) if node else ()
        return [f"{name}={one}" for one in values]
    keys = dict(_keys(leaves, name))
    if len(keys) < _ENOUGH:
        return [*keys.items(), *(key + _example(leaves[_with_stars(key[:-1])]) for key in keys)]
    return list(keys.items())


def _forms(node: dict[str, Any]) -> list[dict[str, Any]]:
    return [form for one in node["anyOf"] for form in _forms(one)] if "anyOf" in node else [node]


def _leaves(node: dict[str, Any], path: _Key) -> Iterator[tuple[_Key, dict[str, Any]]]:
    """Every key that takes a value, `*` for the name of a dataset or backbone."""
    for form in _forms(node):
        below = form.get("properties", {})
        others = form.get("additionalProperties")
        if not {"low", "choices"} & below.keys():  # a space is one value
            for name, child in below.items():
                yield from _leaves(child, (*path, name))
        if isinstance(others, dict) and "properties" in others:
            yield from _leaves(others, (*path, "*"))
    if path and any(form.get("type") not in ("object", "null") for form in _forms(node)):
        yield path, node


def _with_stars(key: str) -> _Key:
    path = tuple(key.split("."))
    return (*path[:2], "*", *path[3:]) if len(path) > 3 and path[1].startswith("per_") else path


def _keys(leaves: dict[_Key, dict[str, Any]], incomplete: str) -> Iterator[tuple[str, str]]:
    """Every `KEY=` that continues the text, with what the key means."""
    for path, node in leaves.items():
        key, meaning = ".".join(path), str(node.get("description", ""))
        if "*" not in path:
            if key.startswith(incomplete) and path != ("extends",):
                yield f"{key}=", meaning
        elif incomplete.startswith(f"{path[0]}.p"):  # else they would hide all other keys
            shared = f"{path[0]}.{path[1]}."
            near = [n for n in _names(path) if _continues(f"{shared}{n}.", incomplete)]
            for name in near:
                full = f"{key.replace('*', name)}="
                if len(near) > 1:
                    yield f"{shared}{name}.", f"exceptions of {name}"
                elif full.startswith(incomplete):
                    yield full, meaning


def _continues(text: str, incomplete: str) -> bool:
    return text.startswith(incomplete) or incomplete.startswith(text)


def _names(path: _Key) -> tuple[str, ...]:
    from pcsearch.data.catalog import DATASETS
    from pcsearch.models.names import known_backbones

    return tuple(DATASETS) if path[1] == "per_dataset" else known_backbones()


def _values(ctx: typer.Context, path: _Key, node: dict[str, Any], incomplete: str) -> Iterator[str]:
    """Values of a key that begin with the text; of a list, the names that continue it."""
    before = ""
    if path in _NAMED_LISTS:
        before, incomplete = re.fullmatch(r"(\[?(?:[^,]*,\s*)*)(.*)", incomplete, re.S).groups()  # type: ignore[union-attr]
    choices = [str(run) for run in runs(ctx, incomplete)] if path[-1] == "prior" else []
    for form in _forms(node):
        items = form.get("items", {})
        for one in (form, *_forms(items)):
            choices += [str(value) for value in [*one.get("enum", []), one.get("const")] if value]
        choices += ["true", "false"] if form.get("type") == "boolean" else []
    taken = re.split(r"[\[,\s]+", before)
    for choice in dict.fromkeys(choices):
        if choice.startswith(incomplete) and choice not in taken:
            yield before + choice


def _example(node: dict[str, Any]) -> str:
    """A value of a key: its default, as YAML."""
    from pcsearch.recipe.problems import show

    default = node.get("default")
    return default if isinstance(default, str) else show(default)
