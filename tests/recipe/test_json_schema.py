"""The JSON Schema of recipes: what it takes and refuses, and that the docs explain all keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from jsonschema import Draft7Validator
from typer.testing import CliRunner

from pcsearch.cli.recipes import app
from pcsearch.recipe import load_recipe, shipped_recipes
from pcsearch.recipe.json_schema import described_keys, recipe_schema
from pcsearch.recipe.problems import Where
from pcsearch.recipe.source_tree import from_yaml
from pcsearch.recipe.validate import KEYS
from tests.recipe.recipes import MINIMAL
from tests.recipe.strategies import RECIPES


def mistakes(text: str) -> list[str]:
    tree = from_yaml(text, Where("recipe"))
    assert tree is not None
    return [error.message for error in Draft7Validator(recipe_schema()).iter_errors(tree.plain())]


def test_the_command_prints_a_schema() -> None:
    printed = json.loads(CliRunner().invoke(app, ["schema"]).stdout)
    Draft7Validator.check_schema(printed)
    assert printed == json.loads(json.dumps(recipe_schema()))


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_shipped_recipes_are_valid_as_written_and_with_every_key(name: str) -> None:
    assert mistakes(shipped_recipes()[name].read_text("utf-8")) == []
    assert mistakes(load_recipe(name, images_needed=False).dump_yaml()) == []


@given(data=RECIPES)
def test_what_loads_is_valid(data: dict[str, Any]) -> None:
    assert mistakes(load_recipe(data).dump_yaml()) == []


@pytest.mark.parametrize(
    "added",
    [
        "search: {lr: auto, weight_decay: null, lambda_over_n: [0.05, 0.15], arms: entropic}",
        "search: {lr: {low: 1e-3, high: 0.1, log: true}, batch_size: {choices: [8, 16]}}",
        "search: {sampler: grid, grid: {lr: [0.1], lambda_over_n: [0.1]}, prior: first-try}",
        "search: {per_backbone: {resnet50: {lr: 0.1}}}",
        "image: {color_jitter: 0.2, per_dataset: {digits: {color_jitter: {contrast: 1}}}}",
        "image: {rand_augment: 9, random_resized_crop: 0.25}",
        "train: {class_weights: {robin: 2, wren: 0.5}, sampling: balanced}",
        "train: {class_weights: balanced}",
        "image: {trivial_augment: true, rand_augment: {operations: 1, magnitude: 0}}",
        "data:\nimage:\ntrain: {per_backbone:}",
        "data: {classes: [1, 009.Brewer]}",
        "weights: {resnet50: none}",
        "resources: {gpus_per_trial: auto, max_concurrent: 3}",
        "name: 2024",
    ],
)
def test_what_a_recipe_may_write(added: str) -> None:
    assert mistakes(f"{MINIMAL}{added}\n") == []


@pytest.mark.parametrize(
    "added",
    [
        "searhc: {}",
        "search: {trails: 3}",
        "search: {arms: [control]}",
        "search: {lr: 0}",
        "search: {lr: [0.1, 0.2, 0.3]}",
        "search: {lambda_over_n: auto}",
        "search: {batch_size: 2.5}",
        "search: {label_smoothing: 1}",
        "search: {grid: {momentum: [0.1]}}",
        "search: {evaluate_on: test}",
        "train: {momentum: 1}",
        "train: {optimizer: adam}",
        "train: {per_backbone: {resnet50: {dropout: 1}}}",
        "image: {mean: [0.5]}",
        "image: {color_jitter: 2}",
        "image: {rand_augment: 31}",
        "train: {class_weights: {robin: 0}}",
        "train: {class_weights: all}",
        "image: {rand_augment: {operations: 0}}",
        "image: {trivial_augment: 1}",
        "resources: {max_concurrent: many}",
        "name: a/b",
        "extends: 3",
    ],
)
def test_what_it_may_not(added: str) -> None:
    assert mistakes(f"{MINIMAL}{added}\n") != []


def test_what_every_recipe_needs_unless_it_extends_another() -> None:
    assert len(mistakes("name: x\n")) == 3
    assert mistakes("extends: quickstart\n") == []
    for wrong in ("datasets: [digts]", "backbones: [resnet51]", "asha: {grace_epochs: 3}"):
        key = wrong.partition(":")[0]
        lines = [line for line in MINIMAL.splitlines() if not line.startswith(key)]
        assert mistakes("\n".join([*lines, wrong])) != []
    assert mistakes(MINIMAL.replace("[resnet50]", "['my_models:net']")) == []


def keys(node: dict[str, Any], path: tuple[str, ...] = ()) -> dict[tuple[str, ...], dict[str, Any]]:
    found = {}
    for name, below in node.get("properties", {}).items():
        found[(*path, name)] = below
        found |= keys(below, (*path, name))
    if isinstance(node.get("additionalProperties"), dict):
        found |= keys(node["additionalProperties"], (*path, "*"))
    for form in node.get("anyOf", []):
        found |= keys(form, path)
    return found


def test_docs_explain_every_key_and_no_other() -> None:
    """The tables of docs/recipes.md are the source of the descriptions."""
    found = keys(recipe_schema())
    assert {path: node for path, node in found.items() if not node.get("description")} == {}
    known = {(*path, name) for path, names in KEYS.items() for name in names}
    assert known <= set(found)
    assert set(described_keys()) <= known
    sections = {path for path in KEYS if path}
    own = {path for path in known if "*" not in path} - sections
    assert own <= set(described_keys())
    assert (
        found["image", "per_dataset", "*", "crop"]["description"]
        == (found["image", "crop"]["description"])
    )
    assert found["search", "lambda_over_n"]["description"] == "space of λ/N for `pc`"
    assert found["search", "lambda_over_n"]["default"] == {"low": 0.05, "high": 0.15, "log": False}


def test_docs_name_the_choices_of_every_key() -> None:
    docs = Path(__file__).parents[2].joinpath("docs/recipes.md").read_text("utf-8")
    for path, node in keys(recipe_schema()).items():
        for one in node.get("enum", []):
            choice = str(one).lower() if isinstance(one, bool) else one
            assert f"`{choice}`" in docs or f": {choice}`" in docs, (path, choice)
