"""Recipes that are too much: many files, many keys, much text. Each is one clear error, soon."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pcsearch.errors import UserError
from pcsearch.recipe import load_recipe
from pcsearch.recipe.load import RESOLVED_LIMIT, find_recipe, parse_recipe
from pcsearch.recipe.problems import MOST_PROBLEMS, RecipeError
from pcsearch.recipe.sections import DataSection
from tests.recipe.recipes import MINIMAL, write


def refusal(source: Path | str, *overrides: str) -> str:
    with pytest.raises(UserError) as refused:
        load_recipe(source, overrides)
    return str(refused.value)


def test_a_long_chain_of_extends(tmp_path: Path) -> None:
    for number in range(600):
        write(tmp_path, f"extends: c{number + 1}.yaml\n", f"c{number}.yaml")
    write(tmp_path, MINIMAL, "c600.yaml")
    assert "a chain of recipes has at most 20 files" in refusal(tmp_path / "c0.yaml")
    assert load_recipe(tmp_path / "c585.yaml").asha.max_epochs == 9


@pytest.mark.parametrize("name", ["~nobody-here/x.yaml", "/dev/zero", "/dev/tty", "a\\0b", "pipe"])
def test_extends_of_what_is_no_file(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    message = refusal(write(tmp_path, f'extends: "{name}"\n{MINIMAL}'))
    assert "there is no such file" in message


def test_extends_of_a_file_whose_size_is_not_known(tmp_path: Path) -> None:
    if not Path("/proc/self/mem").is_file():
        pytest.skip("there are no files without a size here")
    assert "cannot be read" in refusal(write(tmp_path, f"extends: /proc/self/mem\n{MINIMAL}"))


def test_an_override_whose_key_has_thousands_of_parts() -> None:
    key = ".".join("a" * 5000)
    assert "a key of 5000 parts" in refusal("quickstart", f"{key}=1")


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"key{i}: {i}\n" for i in range(9000)),
        "search: {per_backbone: {" + ", ".join(f"n{i}: {{lr: 1}}" for i in range(5000)) + "}}",
        "weights: {" + ", ".join(f"imagenet{i}: imagenett" for i in range(5000)) + "}",
        "a: 1\n" * 9000,
    ],
    ids=["unknown keys", "unknown backbones", "weights", "doubled keys"],
)
def test_thousands_of_mistakes_are_not_all_told(tmp_path: Path, text: str) -> None:
    lines = refusal(write(tmp_path, f"{MINIMAL}{text}")).splitlines()
    assert len(lines) <= 2 * MOST_PROBLEMS + 1
    assert all(line.startswith((str(tmp_path), "and ")) for line in lines)


def test_the_number_of_mistakes_that_are_left_out_is_told() -> None:
    with pytest.raises(RecipeError) as refused:
        load_recipe({f"key{i}": i for i in range(5 * MOST_PROBLEMS)})
    assert len(refused.value.problems) > MOST_PROBLEMS
    left_out = len(refused.value.problems) - MOST_PROBLEMS
    assert str(refused.value).splitlines()[-1] == f"and {left_out} more problems"


@pytest.mark.parametrize("key", ["datasets", "backbones", "search.arms"])
def test_thousands_of_names(key: str) -> None:
    names = ", ".join(f"name{i}" for i in range(9000))
    assert f"{key} has 9000 names, but must have at most" in refusal(
        "quickstart", f"{key}=[{names}]"
    )


def test_thousands_of_classes_are_usual() -> None:
    classes = tuple(range(20_000))
    assert DataSection.model_validate({"classes": classes}).classes == classes
    with pytest.raises(ValueError, match="names 7 twice"):
        DataSection.model_validate({"classes": (*classes, 7)})


def test_a_long_text_that_aliases_repeat(tmp_path: Path) -> None:
    repeated = ", ".join(f"k{i}: *a" for i in range(3000))
    options = f"backbone_options: {{resnet50: {{a: &a {'x' * 50_000}, {repeated}}}}}\n"
    assert "its aliases (*name) repeat each other" in refusal(write(tmp_path, MINIMAL + options))


def test_weights_of_a_user_who_is_not_there() -> None:
    assert 'weights is "~imagenet", which is not a file' in refusal("cub200", "weights=~imagenet")


def test_what_a_run_folder_holds_in_place_of_its_recipe() -> None:
    with pytest.raises(RecipeError, match="too many for a recipe"):
        parse_recipe("#" * (RESOLVED_LIMIT + 1))
    for text in ("", "- a", "a: !!python/object/apply:os.system [false]", "\0", "[" * 100):
        with pytest.raises(RecipeError):
            parse_recipe(text)


def test_a_name_that_commands_the_terminal_is_shown_not_obeyed() -> None:
    with pytest.raises(UserError) as refused:
        find_recipe("\x1b[2J\n.yaml")
    assert "\x1b" not in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
