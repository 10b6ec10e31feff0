"""A recipe that is dumped and loaded again is the same recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from pcsearch.recipe import ARMS, load_recipe, shipped_recipes
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
        first = load_recipe(shipped, images=tmp_path if name == "my-images" else None)
        (tmp_path / f"{name}.yaml").write_text(first.dump_yaml(), encoding="utf-8")
        assert load_recipe(tmp_path / f"{name}.yaml") == first
