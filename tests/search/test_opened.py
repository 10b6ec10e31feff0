"""What the trials of a process share."""

from __future__ import annotations

from pcsearch.recipe import load_recipe
from pcsearch.search.opened import stated_recipe


def test_recipe_text_is_read_as_it_was_written() -> None:
    words = {"name": "2024-05-01", "data.classes": "[yes, no, on, 1:30]", "data.root": "0x1F"}
    recipe = load_recipe("cub200", [f"{key}={value}" for key, value in words.items()])
    assert recipe.data.classes == ("yes", "no", "on", "1:30")
    assert stated_recipe(recipe.dump_yaml()) == recipe
