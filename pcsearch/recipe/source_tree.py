"""A recipe as written: plain values, each with its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from pcsearch.recipe import yaml_core
from pcsearch.recipe.problems import KeyPath, Problem, RecipeError, Where, dotted, show
from pcsearch.recipe.search_space import dimensions

_CHARACTERS_LIMIT = yaml_core.BYTES_LIMIT + 100_000
"""Limit of all values together, with each repetition by aliases and room for the defaults."""

_Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class Tree:
    """A mapping, a list or a scalar, with the place where it was written."""

    value: dict[str, Tree] | list[Tree] | _Scalar
    where: Where

    def plain(self) -> object:
        """The values alone: dict, list and scalars."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def place(self, path: KeyPath) -> Where:
        """Where `path` was written, else the nearest place above it."""
        tree = self
        for part in path:
            below = tree._below(part)
            if below is None:
                break
            tree = below
        return tree.where

    def at(self, path: KeyPath) -> Tree | None:
        """What was written at `path` itself."""
        tree: Tree | None = self
        for part in path:
            tree = tree._below(part) if tree else None
        return tree

    def nearest(self, files: Sequence[str]) -> Where:
        """The place nearest to the user at which this, or a part of it, was written."""
        parts: Iterable[Tree] = ()
        if isinstance(self.value, dict | list):
            parts = self.value.values() if isinstance(self.value, dict) else self.value
        places = (self.where, *(part.nearest(files) for part in parts))
        return min(places, key=lambda where: distance(where, files))

    def _below(self, part: str | int) -> Tree | None:
        if isinstance(self.value, dict):
            return self.value.get(str(part))
        if isinstance(self.value, list) and isinstance(part, int) and part < len(self.value):
            return self.value[part]
        return None


def distance(where: Where, files: Sequence[str]) -> int:
    """How far a place is from the user: 0 outside the files, as on the command line.

    `files` are the sources of a recipe's files, from 1 on: a file precedes those it extends.
    """
    return 1 + files.index(where.source) if where.source in files else 0


def is_space(path: KeyPath) -> bool:
    """Whether a mapping at `path` is a search dimension, which is replaced as a whole."""
    if path[:1] != ("search",) or path[-1] not in dimensions():
        return False
    return len(path) == 2 or (len(path) == 4 and path[1] == "per_backbone")


def merge(base: Tree, over: Tree, path: KeyPath = ()) -> Tree:
    """`over` on top of `base`: mappings merge deeply; other values and spaces are replaced."""
    if not isinstance(base.value, dict) or not isinstance(over.value, dict):
        return over
    if path and is_space(path):
        return over
    merged = dict(base.value)
    for key, child in over.value.items():
        merged[key] = merge(merged[key], child, (*path, key)) if key in merged else child
    return Tree(merged, over.where)


def from_yaml(text: str, where: Where) -> Tree | None:
    """The tree of a document; None if it is empty.

    Problems have line numbers if `where` has one; an override has none.

    Raises:
        RecipeError: lists every problem found.
    """
    try:
        node = yaml_core.compose(text)
    except yaml_core.LimitError as error:
        raise RecipeError([Problem(_at(where, error.line), "", str(error))]) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = _at(where, mark.line + 1) if mark else where
        message = f"cannot be read as YAML: {error.problem or error.context}"
        raise RecipeError([Problem(place, "", message)]) from None
    except yaml.YAMLError:
        message = "cannot be read as YAML: it holds a control character"
        raise RecipeError([Problem(where, "", message)]) from None
    if node is None:
        return None
    builder = _Builder(where)
    tree = builder.build(node, where, ())
    if builder.problems:
        raise RecipeError(builder.problems)
    return tree


def from_plain(value: object, where: Where, path: KeyPath = ()) -> Tree:
    """The tree of plain Python data; RecipeError for data that YAML cannot hold."""
    if isinstance(value, Path):
        value = str(value)
    if value is None or isinstance(value, str | int | float | bool):
        return Tree(value, where)
    if isinstance(value, list | tuple) and len(path) < yaml_core.DEPTH_LIMIT:
        return Tree([from_plain(v, where, (*path, i)) for i, v in enumerate(value)], where)
    if isinstance(value, Mapping) and len(path) < yaml_core.DEPTH_LIMIT:
        items = ((str(key), child) for key, child in value.items())
        return Tree({key: from_plain(child, where, (*path, key)) for key, child in items}, where)
    message = f"is {show(value)}, but must be plain data (text, numbers, lists, mappings)"
    raise RecipeError([Problem(where, dotted(path), message)])


def _at(where: Where, line: int) -> Where:
    return where if where.line is None else Where(where.source, line)


@dataclass
class _Builder:
    """Turns nodes into a tree; keys are text as written, aliases are copied within limits."""

    where: Where
    problems: list[Problem] = field(default_factory=list)
    nodes: int = 0
    characters: int = 0

    def build(self, node: yaml.Node, where: Where, path: KeyPath) -> Tree:
        self.nodes += 1
        self.characters += len(node.value) if isinstance(node, yaml.ScalarNode) else 0
        many = self.nodes > yaml_core.NODES_LIMIT or self.characters > _CHARACTERS_LIMIT
        if many or len(path) > yaml_core.DEPTH_LIMIT:
            message = "holds too many values: its aliases (*name) repeat each other"
            raise RecipeError([*self.problems, Problem(self.where, "", message)])
        if isinstance(node, yaml.MappingNode) and node.tag == f"{yaml_core.TAG}map":
            return Tree(self._mapping(node, path), where)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{yaml_core.TAG}seq":
            items = enumerate(node.value)
            return Tree([self.build(n, self._line(n), (*path, i)) for i, n in items], where)
        if isinstance(node, yaml.ScalarNode):
            try:
                return Tree(yaml_core.scalar(node), where)
            except ValueError as error:
                message = str(error)
                if not message.startswith("has "):
                    message = f"is {show(node.value)}, which is not a value of {node.tag}"
        else:
            message = f"has the tag {node.tag}, which recipes do not allow"
        self.problems.append(Problem(where, dotted(path), message))
        return Tree(None, where)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Tree]:
        children: dict[str, Tree] = {}
        for key_node, child in node.value:
            where = self._line(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(Problem(where, dotted(path), "has a key that is not text"))
                continue
            key = str(key_node.value)
            below = (*path, key)
            if key in children:
                first = children[key].where.line
                message = "is given twice" + (f" (first on line {first})" if first else "")
                self.problems.append(Problem(where, dotted(below), message))
            elif key == "<<":
                message = 'merge keys ("<<") are not allowed: use extends'
                self.problems.append(Problem(where, dotted(path), message))
            else:
                children[key] = self.build(child, where, below)
        return children

    def _line(self, node: yaml.Node) -> Where:
        return _at(self.where, node.start_mark.line + 1)
