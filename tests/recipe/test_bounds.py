"""Every number of a recipe has bounds, those of fields that are yet to come included."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcsearch.errors import UserError
from pcsearch.models.registry import check_options
from pcsearch.recipe import load_recipe
from pcsearch.recipe.problems import KeyPath
from pcsearch.recipe.schema import Recipe
from pcsearch.recipe.search_space import dimensions
from pcsearch.recipe.validate import KEYS

SCHEMA = Recipe.model_json_schema()
LARGEST = {"instance": 2**32, "seed": 2**32, "split_seed": 2**32} | {
    "cost": 1e12,
    "price_per_node_hour": 1e12,
}
"""Upper bounds that are larger than the 10**6 of all others."""
MINIMAL = {"datasets": ["digits"], "backbones": ["resnet50"], "asha": {"max_epochs": 9}}

INTERNALS = ("literal", "constrained", "function-", "Input should", "int]", "pydantic", "nullable")


def numbers(schema: dict[str, Any], path: KeyPath = ()) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """Every number in a schema with its path; spaces are left to the dimensions."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        if name != "Space":
            yield from numbers(SCHEMA["$defs"][name], path)
    if schema.get("type") in ("integer", "number"):
        yield path, schema
    for name, below in schema.get("properties", {}).items():
        if (*path, name) != ("search", "grid"):  # its values are those of dimensions
            yield from numbers(below, (*path, name))
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from numbers(schema[key], (*path, 0 if key == "items" else "resnet50"))
    for key in ("anyOf", "allOf", "oneOf", "prefixItems"):
        for number, below in enumerate(schema.get(key, [])):
            yield from numbers(below, (*path, number) if key == "prefixItems" else path)


FOUND = dict(numbers(SCHEMA))
NUMBERS = [path for path in FOUND if all(isinstance(part, str) for part in path)]


def test_the_walk_finds_what_is_known_to_be_there() -> None:
    known = {
        ("search", "trials"), ("confirm", "seeds"), ("train", "per_backbone", "resnet50", "lr"),
        ("resources", "max_concurrent"), ("image", "mean", 0), ("data", "classes", 0),
        ("image", "per_dataset", "resnet50", "crop"), ("budget", "hours"),
    }  # fmt: skip
    assert known <= set(FOUND)
    assert len(FOUND) > 70


def bound(schema: dict[str, Any], *names: str) -> float | None:
    return next((schema[name] for name in names if name in schema), None)


@pytest.mark.parametrize("path", FOUND, ids=lambda path: ".".join(map(str, path)))
def test_every_number_has_bounds(path: KeyPath) -> None:
    most = bound(FOUND[path], "maximum", "exclusiveMaximum", "le", "lt")
    assert most is not None
    assert most <= LARGEST.get(str(path[-1]), 10**6)
    assert bound(FOUND[path], "minimum", "exclusiveMinimum", "ge", "gt") is not None


@pytest.mark.parametrize("dimension", dimensions().values(), ids=lambda one: one.name)
def test_every_dimension_has_bounds(dimension: Any) -> None:
    assert dimension.limits.high <= 10**6
    for value in (10**7, 1e300, float("inf"), {"low": 1e-3, "high": 1e9}, {"choices": [2, 10**9]}):
        with pytest.raises(UserError, match=rf"search\.{dimension.name}\b"):
            load_recipe(MINIMAL | {"search": {dimension.name: value}})


@given(st.sampled_from(NUMBERS), st.one_of(st.integers(10**13, 10**400), st.floats(1e13, 1e308)))
def test_what_is_far_too_large_is_told_in_plain_words(path: KeyPath, value: float) -> None:
    data: dict[str, Any] = dict(MINIMAL)
    place = data
    for part in path[:-1]:
        place[part] = dict(place.get(part, {}))
        place = place[part]
    place[path[-1]] = value
    with pytest.raises(UserError) as error:
        load_recipe(data)
    assert ".".join(map(str, path)) in str(error.value)
    for internal in INTERNALS:
        assert internal not in str(error.value)


@pytest.mark.parametrize("value", [10**9, 1.5, "many", [1], {"a": 1}, True, 0, -1, None])
def test_a_union_is_told_as_one_key(value: object) -> None:
    for key in ("max_concurrent", "gpus_per_trial"):
        if key == "gpus_per_trial" and value == 0:
            continue
        with pytest.raises(UserError) as error:
            load_recipe(MINIMAL | {"resources": {key: value}})
        assert len(str(error.value).splitlines()) == 1
        assert f": resources.{key} is " in str(error.value)
        assert "[" not in str(error.value).replace("[1]", "")


def test_options_of_backbones_have_bounds() -> None:
    with pytest.raises(UserError, match="`width` is 1000000000, but must be at most 4096"):
        check_options("compact_cnn", {"width": 10**9})


JUNK: tuple[object, ...] = (
    "x", "", -1, 2.5, True, None, [], [1], ["a", 3], [[]], {}, {"a": 1}, {"a": {"b": []}},
    {"low": 1}, [{"a": 1}], "\x1b[31m", 10**400, -1e308, {"choices": ["a"]}, [None],
    {"resnet50": 3},
)  # fmt: skip
ALL_KEYS = [(*above, name) for above, names in KEYS.items() for name in names]


@pytest.mark.parametrize("path", ALL_KEYS, ids=".".join)
def test_no_message_tells_of_the_validator(path: tuple[str, ...]) -> None:
    for value in JUNK:
        data: dict[str, Any] = dict(MINIMAL)
        place = data
        for part in path[:-1]:
            name = "resnet50" if part == "*" else part
            place[name] = dict(place.get(name, {}))
            place = place[name]
        place[path[-1]] = value
        message = ""
        try:
            load_recipe(data)
        except UserError as error:
            message = str(error)
        assert not [internal for internal in INTERNALS if internal in message]
