"""Settings of `train` that `search` overrules are reported; all others are let through."""

from __future__ import annotations

from pathlib import Path

import pytest

from pcsearch.errors import UserError
from pcsearch.recipe import load_recipe
from tests.recipe.recipes import MINIMAL, write


@pytest.mark.parametrize(
    "override",
    ["train.head_only_lr=1.0", "train.head_lr_multiplier=5", "train={head_only_lr: 0.5}"],
)
def test_keys_whose_names_hold_another_key(tmp_path: Path, override: str) -> None:
    load_recipe(write(tmp_path, f"{MINIMAL}search: {{lr: [0.1, 0.2]}}\n"), [override])
    load_recipe("quickstart", [override])


@pytest.mark.parametrize(
    ("search", "override", "message"),
    [
        (
            "{lr: 0.1}",
            "train={lr: 0.5, momentum: 0.5}",
            "train.lr has no effect, because search.lr",
        ),
        (
            "{lr: 0.1}",
            "train.per_backbone.resnet50.lr=0.5",
            "train.per_backbone.resnet50.lr has no effect, because search.lr sets it",
        ),
        (
            "{sampler: grid, grid: {lr: [0.1], lambda_over_n: [0.1]}}",
            "train.lr=0.5",
            "train.lr has no effect, because search.grid.lr sets it",
        ),
    ],
)
def test_overrides_without_effect(tmp_path: Path, search: str, override: str, message: str) -> None:
    file = write(tmp_path, f"{MINIMAL}search: {search}\n")
    with pytest.raises(UserError) as error:
        load_recipe(file, [override])
    assert str(error.value).startswith(f"override {override}: {message}")


def test_a_backbone_that_is_not_searched_takes_the_override(tmp_path: Path) -> None:
    text = MINIMAL.replace("[resnet50]", "[resnet50, vgg16]")
    search = "search: {weight_decay: [0, 0.1], per_backbone: {vgg16: {weight_decay: null}}}"
    recipe = load_recipe(write(tmp_path, f"{text}{search}\n"), ["train.weight_decay=0.5"])
    assert "weight_decay" not in recipe.space_for("vgg16", "pc")
    assert recipe.train_for("vgg16")["weight_decay"] == 0.5


def test_a_file_overruled_by_what_it_extends(tmp_path: Path) -> None:
    file = write(tmp_path, "extends: cub200\ntrain: {lr: 0.02}\n")
    with pytest.raises(UserError) as error:
        load_recipe(file)
    assert str(error.value) == (
        f"{file}:2: train.lr has no effect, because search.lr sets it: give search.lr instead"
    )
    plain = {"extends": "cub200", "train": {"lr": 0.02}}
    with pytest.raises(UserError, match=r"^recipe: train\.lr has no effect"):
        load_recipe(plain)
    assert load_recipe({**plain, "search": {"lr": None}}).train.lr == 0.02
    assert load_recipe(plain, ["search.lr=null"]).search.lr is None


def test_one_file_may_state_both_and_a_nearer_search_wins(tmp_path: Path) -> None:
    both = write(tmp_path, f"{MINIMAL}search: {{lr: 0.1}}\ntrain: {{lr: 0.2}}\n", "both.yaml")
    assert load_recipe(both).search.lr is not None
    write(tmp_path, f"{MINIMAL}train: {{lr: 0.2}}\n", "base.yaml")
    nearer = write(tmp_path, "extends: base.yaml\nsearch: {lr: 0.1}\n")
    assert load_recipe(nearer).search.lr is not None
    assert load_recipe(tmp_path / "base.yaml", ["search.lr=0.1"]).search.lr is not None


def notes(source: str | Path, *overrides: str) -> list[str]:
    lines: list[str] = []
    load_recipe(source, overrides, noted=lines.append)
    return lines


def test_an_exception_of_every_dataset_leaves_an_override_without_effect() -> None:
    with pytest.raises(UserError) as error:
        load_recipe("quickstart", ["datasets=[digits]", "image.resize=32"])
    assert str(error.value) == (
        "override image.resize=32: image.resize has no effect, because "
        "image.per_dataset.digits.resize sets it: give image.per_dataset.digits.resize instead"
    )
    assert notes("quickstart", "datasets=[digits]", "image.flip=false") == [], "the same value"
    assert notes("quickstart", "datasets=[fieldguide]", "image.resize=48") == []


def test_an_exception_of_some_is_noted(tmp_path: Path) -> None:
    assert notes("quickstart", "image.resize=32") == [
        "override image.resize=32: image.resize has no effect on digits, because "
        "image.per_dataset.digits.resize sets it there"
    ]
    both = ("image.resize=32", "image.per_dataset.digits.resize=24")
    assert notes("quickstart", *both) == []
    text = MINIMAL.replace("[resnet50]", "[resnet50, vgg16]")
    write(
        tmp_path,
        f"{text}train: {{per_backbone: {{vgg16: {{momentum: 0.8}}}}}}\n"
        "search: {per_backbone: {vgg16: {lr: 0.1, lambda_over_n: 0.1}}}\n",
        "base.yaml",
    )
    file = write(
        tmp_path, "extends: base.yaml\ntrain: {momentum: 0.5}\nsearch:\n  lr: [0.1, 0.2]\n"
    )
    assert notes(file) == [
        f"{file}:2: train.momentum has no effect on vgg16, because "
        "train.per_backbone.vgg16.momentum sets it there",
        f"{file}:4: search.lr has no effect on vgg16, because "
        "search.per_backbone.vgg16.lr sets it there",
    ]


def test_a_grid_outranks_a_space(tmp_path: Path) -> None:
    grid = "search: {sampler: grid, grid: {lr: [0.1], lambda_over_n: [0.1]}}"
    file = write(tmp_path, f"{MINIMAL}{grid}\n")
    with pytest.raises(UserError, match=r"search\.lr has no effect, because search\.grid\.lr sets"):
        load_recipe(file, ["search.lr=0.2"])


def test_a_mistaken_key_is_not_also_without_effect(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        load_recipe("quickstart", ["train.lr=fast", "imag=3"])
    assert str(error.value).splitlines() == [
        'override imag=3: imag: unknown key, did you mean "image"?',
        'override train.lr=fast: train.lr is "fast", but must be a number',
    ]
    with pytest.raises(UserError) as error:
        load_recipe("quickstart", ["train.lr=0.1", "imag=3"])
    assert str(error.value).splitlines() == [
        'override imag=3: imag: unknown key, did you mean "image"?',
        "override train.lr=0.1: train.lr has no effect, because search.lr sets it: "
        "give search.lr instead",
    ]
