"""Whatever is in a recipe, it gives a recipe or one clear error, and no traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsearch.errors import UserError
from pcsearch.recipe import load_recipe, yaml_core
from pcsearch.recipe.problems import Where
from pcsearch.recipe.source_tree import from_yaml
from tests.recipe.strategies import JUNK, QUICKSTART, mutated


def outcome(source: Path | dict[str, Any], *overrides: str) -> str:
    """The message of the UserError that loading raises, empty when it gives a recipe."""
    try:
        load_recipe(source, overrides)
    except UserError as error:
        assert str(error)  # noqa: PT017
        return str(error)
    return ""


@given(mutated())
@settings(max_examples=250, deadline=None)
def test_mutated_recipes_give_a_recipe_or_a_user_error(data: dict[str, Any]) -> None:
    message = outcome(data)
    assert all(line.startswith("recipe: ") for line in message.splitlines())


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_mutated_files_give_a_recipe_or_a_user_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    text = yaml_core.dump(QUICKSTART)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.integers(0, 6))
        new = data.draw(st.text("{}[]:,-#&*!|>'\"%@`?~ \n\tnul1.e\x00é", max_size=4))
        text = text[:at] + new + text[at + cut :]
    file = tmp_path_factory.mktemp("fuzz") / "f.yaml"
    file.write_text(text, encoding="utf-8")
    message = outcome(file)
    assert not message or message.startswith(str(file))


@given(st.text(max_size=30))
@settings(max_examples=100, deadline=None)
def test_any_override_gives_a_recipe_or_a_user_error(text: str) -> None:
    for override in (text, f"search.lr={text}", f"{text}=1", f"name={text}"):
        message = outcome(QUICKSTART, override)
        assert not message or message.startswith("override ")


@given(JUNK)
@settings(max_examples=100, deadline=None)
def test_yaml_is_read_back_as_written(value: object) -> None:
    try:
        text = yaml_core.dump({"value": value})
    except ValueError:  # an integer too long for Python to print
        return
    tree = from_yaml(text, Where("x", 1))
    assert tree is not None
    assert repr(tree.plain()) == repr({"value": value})
