"""Overrides: `search.lr=0.1` on the command line changes a recipe."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from pcsearch.printable import printable
from pcsearch.recipe import yaml_core
from pcsearch.recipe.problems import KeyPath, Problem, RecipeError, Where, dotted, show
from pcsearch.recipe.source_tree import Tree, from_yaml, is_space, merge

KEY_PATTERN = re.compile(r'(?:"[^"=]+"|[^".=]+)(?:\.(?:"[^"=]+"|[^".=]+))*')
_PART = re.compile(r'"([^"]+)"|([^".]+)')
LONGEST_KEY = 80
OVERRIDE = "override "


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split arguments into sources and overrides: `key=value` that is no existing path."""
    sources: list[str] = []
    overrides: list[str] = []
    for argument in arguments:
        key = argument.partition("=")[0]
        is_key = "=" in argument and not re.search(r"[/\\]", key)
        (overrides if is_key and not _exists(argument) else sources).append(argument)
    return sources, overrides


def apply_overrides(tree: Tree, overrides: Sequence[str]) -> tuple[Tree, list[Problem]]:
    """The tree with every readable override applied, in order; and the problems of the others."""
    problems: list[Problem] = []
    for text in overrides:
        try:
            path, value = _parse_override(text)
            tree = _put(tree, path, value, ())
        except RecipeError as error:
            problems += error.problems
    return tree, problems


def _parse_override(text: str) -> tuple[KeyPath, Tree]:
    """The key's path and its value, read as YAML; the first `=` separates the two."""
    where = _where(text)
    key, equals, written = text.partition("=")
    key = key.strip()
    if not equals or not KEY_PATTERN.fullmatch(key):
        message = "must be KEY=VALUE, as in search.trials=20"
        raise RecipeError([Problem(where, "", message)])
    path: KeyPath = tuple(quoted or bare for quoted, bare in _PART.findall(key))
    if len(path) > yaml_core.DEPTH_LIMIT:
        message = f"has a key of {len(path)} parts, which is nested too deep for a recipe"
        raise RecipeError([Problem(where, "", message)])
    if path == ("extends",):
        message = "extends is allowed only in a recipe file"
        raise RecipeError([Problem(where, "", message)])
    if not written.strip():
        message = "has no value (write null for none)"
        raise RecipeError([Problem(where, dotted(path), message)])
    return path, _value(written.strip(), where)


def _value(written: str, where: Where) -> Tree:
    try:
        node = yaml_core.compose(written)
        if isinstance(node, yaml.ScalarNode) and node.style is None and node.value != written:
            return Tree(written, where)  # " #" starts no comment on a command line
        return from_yaml(written, where) or Tree(None, where)
    except (RecipeError, yaml.YAMLError, yaml_core.LimitError):
        message = "the value cannot be read as YAML; put text with special characters in quotes"
        raise RecipeError([Problem(where, "", message)]) from None


def _put(tree: Tree, path: KeyPath, value: Tree, above: KeyPath) -> Tree:
    """Put `value` at `path` below `tree`, whose own path is `above`.

    A mapping that gets new keys keeps its place: what it lacks is not the override's mistake.
    """
    if not path:
        merged = merge(tree, value, above)
        return merged if merged is value else Tree(merged.value, tree.where)
    children = tree.value
    if isinstance(children, list) and len(children) == 2 and above and is_space(above):
        children = dict(zip(("low", "high"), children, strict=True))
    if children is None:
        children = {}
    if not isinstance(children, dict):
        whole, part = dotted(above), dotted((*above, *path))
        message = f"cannot be set, because {whole} is {show(tree.plain())}: set all of {whole}"
        raise RecipeError([Problem(value.where, part, message)])
    key = str(path[0])
    child = children.get(key, Tree({} if path[1:] else None, tree.where))
    return Tree({**children, key: _put(child, path[1:], value, (*above, key))}, tree.where)


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def _where(text: str) -> Where:
    line = printable(text)
    return Where(OVERRIDE + (line if len(line) <= LONGEST_KEY else line[: LONGEST_KEY - 1] + "…"))
