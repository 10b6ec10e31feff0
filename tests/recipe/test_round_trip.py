"""A recipe that is dumped and loaded again is the same recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from pcsearch.arms import ARMS
from pcsearch.recipe import load_recipe, shipped_recipes
from pcsearch.recipe.load import parse_recipe
from tests.recipe.strategies import RECIPES


@given(RECIPES)
@settings(max_examples=60, deadline=None)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, data: dict[str, Any]) -> None:
    first = load_recipe(data)
    file = tmp_path_factory.mktemp("recipe") / "again.yaml"
    file.write_text(first.dump_yaml(), encoding="utf-8")
    again = load_recipe(file)
    assert again == first
    assert again.dump_yaml() == first.dump_yaml()
    for backbone in first.backbones:
        for arm in ARMS:
            assert again.space_for(backbone, arm) == first.space_for(backbone, arm)
        assert again.train_for(backbone) == first.train_for(backbone)


def test_round_trip_of_the_shipped_recipes(tmp_path: Path) -> None:
    for name, shipped in shipped_recipes().items():
        own = {name: ["data.images=x"] for name in ("my-images", "my-images-cpu")}
        own["my-manifest"] = ["data.manifest=x.csv"]
        first = load_recipe(shipped, own.get(name, ()))
        (tmp_path / f"{name}.yaml").write_text(first.dump_yaml(), encoding="utf-8")
        assert load_recipe(tmp_path / f"{name}.yaml") == first


@pytest.mark.parametrize("name", ["2024-05-01", "on", "0x1F", "010", "1e-4", "1_000", "yes"])
def test_words_that_other_yaml_readers_take_for_values(name: str) -> None:
    first = load_recipe(
        {
            "name": name,
            "datasets": ["images", "digits"],
            "backbones": ["resnet50"],
            "weights": "./0o17",
            "data": {"images": "1:30", "classes": ["yes", "no", "~", "on", "12:30:00", 7]},
            "asha": {"max_epochs": 3},
        }
    )
    assert parse_recipe(first.dump_yaml()) == first


def test_what_was_validated_here_is_read_where_its_files_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "imagenett").touch()
    monkeypatch.chdir(tmp_path)
    first = load_recipe("cub200", ["weights=imagenett"])
    (tmp_path / "imagenett").unlink()
    assert parse_recipe(first.dump_yaml()) == first


@pytest.mark.parametrize("weights", ["./NON", "./~/a.pth", "~a.pth", "a~", "./~"])
def test_weights_with_a_tilde_of_their_own(weights: str) -> None:
    first = load_recipe("cub200", [f"weights={weights}"])
    assert first.weights == weights
    assert parse_recipe(first.dump_yaml()) == first
