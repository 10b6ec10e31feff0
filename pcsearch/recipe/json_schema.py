"""The JSON Schema of recipes, with which editors complete and explain keys.

It describes what a person writes: `[0.05, 0.15]` is a space, a single name stands for a list, and a
section may be empty. Rules between keys are not in it; `pcsearch recipes validate` checks them.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from pcsearch.arms import competitors
from pcsearch.data.augmentations import AUGMENTATIONS
from pcsearch.data.catalog import DATASETS
from pcsearch.io import read_text
from pcsearch.models.names import known_backbones
from pcsearch.recipe.fields import NAME, NAME_LENGTH, REFERENCE, TIMM_NETWORK
from pcsearch.recipe.schema import Recipe
from pcsearch.recipe.search_space import ANY_NUMBER, Dimension, Space, dimensions
from pcsearch.training.metrics import deciding_metrics

Node = dict[str, Any]
"""A JSON Schema."""

KeyNames = tuple[str, ...]
"""A key's place; `*` stands for the name of a dataset or a backbone."""

_PACKAGE = Path(__file__).resolve().parents[1]
_ROW = re.compile(r"\| (`[^|]+`) \| (.+) \|")
_LINK = re.compile(r"\[([^]]*)\]\([^)]*\)")
_KEPT = ("type", "enum", "const", "format", "minItems", "maxItems", "uniqueItems")
_BOUNDS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
}


@cache
def recipe_schema() -> Node:
    """The schema of a recipe file, without references; every key has a description."""
    model = Recipe.model_json_schema()
    schema = _Walk(model["$defs"], described_keys()).node(model, ())
    extends = {"type": "string", "description": described_keys()[("extends",)]}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A pcsearch recipe",
        **schema,
        "properties": {"extends": extends, **schema["properties"]},
        # a recipe that extends another one may leave out what that one states
        "if": {"required": ["extends"]},
        "else": {
            "required": ["datasets", "backbones", "asha"],
            "properties": {"asha": {"required": ["max_epochs"]}},
        },
    }


@cache
def described_keys() -> dict[KeyNames, str]:
    """What each key means, as the tables of docs/recipes.md say; a wheel carries that file."""
    folders = (_PACKAGE / "recipes", _PACKAGE.parent / "docs")
    file = next(folder / "recipes.md" for folder in folders if (folder / "recipes.md").is_file())
    found: dict[KeyNames, str] = {}
    section: KeyNames = ()
    for line in read_text(file).splitlines():
        if line.startswith("## "):
            named = tuple(line.removeprefix("## ").split("."))
            section = named if named[0] in Recipe.model_fields else ()
        elif row := _ROW.fullmatch(line):
            for key in re.findall(r"`([^`]+)`", row[1]):
                path = tuple(key.split("."))
                whole = len(path) > 1 and path[0] in Recipe.model_fields
                found[path if whole else (*section, *path)] = _LINK.sub(r"\1", row[2])
    return found


class _Walk:
    """Turns pydantic's schema of the checked recipe into one of the written recipe."""

    def __init__(self, definitions: dict[str, Node], described: dict[KeyNames, str]) -> None:
        self._definitions, self._described = definitions, described

    def node(self, given: Node, path: KeyNames) -> Node:
        """The schema at `path`, without what belongs to its key (default, description)."""
        if "$ref" in given:
            name = given["$ref"].rsplit("/", 1)[-1]
            if name == "Space":
                known = dimensions()
                own = path[0] == "arms" or path[-1] not in known
                return _space(Dimension(path[-1], ANY_NUMBER) if own else known[path[-1]])
            return self.node(self._definitions[name], path)
        if "anyOf" in given:
            return {"anyOf": [self.node(one, path) for one in given["anyOf"]]}
        node = {key: given[key] for key in _KEPT if key in given}
        node |= {_BOUNDS.get(key, key): given[key] for key in _BOUNDS if key in given}
        node |= {key: given[key] for key in _BOUNDS.values() if key in given}
        if items := given.get("items") or given.get("prefixItems", [None])[0]:
            node["items"] = self.node(items, path)
        if "properties" in given:
            below = given["properties"].items()
            node["properties"] = {key: self._key(child, (*path, key)) for key, child in below}
            node["additionalProperties"] = False
        elif isinstance(others := given.get("additionalProperties"), dict):
            node["additionalProperties"] = self.node(others, (*path, "*"))
        return node

    def _key(self, given: Node, path: KeyNames) -> Node:
        node = _written(self.node(given, path), path)
        text = self._description(path) or self._definitions.get(
            given.get("$ref", "").rsplit("/", 1)[-1], {}
        ).get("description", "")
        node["description"] = " ".join(text.split())
        if "default" in given:
            default = given["default"]
            node["default"] = Space(**default).to_yaml() if isinstance(default, dict) else default
        return node

    def _description(self, path: KeyNames) -> str:
        """The exceptions of a dataset or backbone mean what the shared keys mean."""
        shared = path[:1] + path[path.index("*") + 1 :] if "*" in path else path
        return self._described.get(path) or self._described.get(shared, "")


def _space(dimension: Dimension) -> Node:
    """A number, `[low, high]`, `{low: , high: , log: }`, `{choices: [...]}`, perhaps `auto`."""
    number = _number(dimension)
    log = {"type": "boolean", "default": False, "description": "draw on a logarithmic scale"}
    ends = {
        "low": {**number, "description": "smallest value"},
        "high": {**number, "description": "largest value"},
        "log": log,
    }
    choices = _values(dimension, "the values to choose from")
    forms: list[Node] = [
        number,
        {"type": "array", "items": number, "minItems": 2, "maxItems": 2},
        {
            "type": "object",
            "properties": ends,
            "required": ["low", "high"],
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {"choices": choices},
            "required": ["choices"],
            "additionalProperties": False,
        },
    ]
    if dimension.measurable:
        forms.append({"const": "auto"})
    return {"anyOf": forms}


def _number(dimension: Dimension) -> Node:
    limits = dimension.limits
    kind: type[int | float] = int if dimension.whole else float
    return {
        "type": "integer" if dimension.whole else "number",
        "exclusiveMinimum" if limits.low_open else "minimum": kind(limits.low),
        "exclusiveMaximum" if limits.high_open else "maximum": kind(limits.high),
    }


def _values(dimension: Dimension, description: str) -> Node:
    items = {"items": _number(dimension), "minItems": 1, "uniqueItems": True}
    return {"type": "array", **items, "description": description}


def _written(node: Node, path: KeyNames) -> Node:
    """What a recipe may write where the checked recipe holds `node`."""
    if path == ("name",):
        text = {"type": "string", "pattern": f"^{NAME.pattern}$", "maxLength": NAME_LENGTH}
        return {"anyOf": [text, {"type": "integer"}]}
    if path == ("metric",):
        return {"enum": list(deciding_metrics())}
    if path == ("weights",):
        return {"anyOf": [{"enum": ["imagenet", "none"]}, *node["anyOf"]]}
    if path == ("search", "grid"):
        lists = {
            key: _values(dimension, f"values of {key} to try")
            for key, dimension in dimensions().items()
        }
        grid = {"type": "object", "properties": lists, "additionalProperties": False}
        return {"anyOf": [grid, {"type": "null"}]}
    if node.get("items") == {"type": "string"}:  # a single name stands for a list of one
        name = _name(path)
        names = {"type": "array", "items": name, "uniqueItems": True}
        return {"anyOf": [{**names, "minItems": 1} if len(path) == 1 else names, name]}
    if node.get("type") == "object":  # a section whose keys are all commented out is null
        forms: list[Node] = [node, {"type": "null"}]
        if path[-1] in AUGMENTATIONS:  # one number stands for all parts that are 0 by default
            zero = [one for one in AUGMENTATIONS[path[-1]].settings if one.default == 0]
            kind = "integer" if isinstance(zero[0].default, int) else "number"
            forms.append({"type": kind, "minimum": 0, "maximum": min(one.high for one in zero)})
        return {"anyOf": forms}
    return node


def _name(path: KeyNames) -> Node:
    """One of the names that a key lists."""
    if path == ("datasets",):
        return {"enum": list(DATASETS)}
    if path == ("search", "arms"):
        return {"enum": list(competitors())}
    if path == ("backbones",):
        reference = {"type": "string", "pattern": f"^{REFERENCE.pattern}$"}
        of_timm = {"type": "string", "pattern": f"^{TIMM_NETWORK.pattern}$"}
        return {"anyOf": [{"enum": list(known_backbones())}, of_timm, reference]}
    return {"type": "string"}
