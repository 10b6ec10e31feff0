"""Loading: extends, overrides, several sources, YAML's traps."""

from __future__ import annotations

from pathlib import Path

import pytest

from pcsearch.errors import UserError
from pcsearch.recipe import Space, load_recipe, load_recipes
from pcsearch.recipe.overrides import split_arguments
from tests.recipe.recipes import MINIMAL, write


def test_minimal_recipe_has_the_defaults(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, MINIMAL, "my recipe.yaml"))
    assert recipe.name == "my-recipe"
    assert recipe.datasets == ("digits",)
    assert recipe.weights == "imagenet"
    assert recipe.data.root == Path("data")
    assert recipe.data.fieldguide.species == 20
    assert recipe.search.lambda_over_n == Space.between(0.05, 0.15)
    assert recipe.search.lr == Space.between(0.001, 0.1, log=True)
    assert (recipe.search.control, recipe.search.arms) == ("matched", ("pc",))
    assert (recipe.finalists.configs, recipe.finalists.repeats) == (2, 4)
    assert (recipe.confirm.seeds, recipe.confirm.epochs, recipe.confirm_epochs) == (5, None, 9)
    assert (recipe.confirm.until, recipe.confirm.max_seeds) == ("seeds", 20)
    assert (recipe.asha.rule, recipe.asha.full_trainings) == ("noise", 4)
    assert recipe.search.widen == "auto"


def test_extends_merges_mappings_and_replaces_spaces_and_lists(tmp_path: Path) -> None:
    write(
        tmp_path,
        f"{MINIMAL}name: base\nsearch: {{lr: {{low: 1, high: 2, log: true}}, trials: 3}}\n",
    )
    (tmp_path / "sub").mkdir()
    file = write(
        tmp_path / "sub",
        "extends: ../my.yaml\ndatasets: [fieldguide]\n"
        "search: {lr: {low: 0.1, high: 0.2}, seed: 4}\n",
        "own.yaml",
    )
    recipe = load_recipe(file)
    assert recipe.name == "own"
    assert recipe.datasets == ("fieldguide",)
    assert recipe.search.lr == Space.between(0.1, 0.2, log=False)
    assert (recipe.search.trials, recipe.search.seed) == (3, 4)


def test_extends_a_shipped_recipe_and_names_its_file_for_its_lines(tmp_path: Path) -> None:
    file = write(tmp_path, "extends: quickstart\nasha: {max_epochs: 27}\n")
    assert load_recipe(file).asha.max_epochs == 27
    write(tmp_path, f"{MINIMAL}image:\n  crop: 300\n", "base.yaml")
    with pytest.raises(UserError, match=r"base\.yaml:5: image\.crop is 300, but must be at"):
        load_recipe(write(tmp_path, "extends: base.yaml\ntrain: {lr: 0.1}\n"))


def test_a_mistake_is_of_the_file_that_made_it_one(tmp_path: Path) -> None:
    """The crop of the shipped recipe was right before another file made the images smaller."""
    file = write(tmp_path, "extends: quickstart\nimage: {resize: 20}\n")
    with pytest.raises(UserError) as error:
        load_recipe(file)
    message = "image.crop is 32, but must be at most image.resize (20)"
    assert str(error.value) == f"{file}:2: {message}"
    with pytest.raises(UserError) as error:
        load_recipe(file, ["image.resize=24"])
    assert str(error.value) == f"override image.resize=24: {message.replace('20', '24')}"


def test_extends_in_a_circle_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "extends: b.yaml\n", "a.yaml")
    write(tmp_path, "extends: a.yaml\n", "b.yaml")
    with pytest.raises(
        UserError, match=r"b\.yaml:1: extends is .*circle: a.yaml → b.yaml → a.yaml"
    ):
        load_recipe(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("override", "attribute", "value"),
    [
        ("search.lr=0.1", "search.lr", Space.fixed(0.1)),
        ("search.lr=1e-2", "search.lr", Space.fixed(0.01)),
        (
            "search.lr={low: 0.1, high: 1e1, log: true}",
            "search.lr",
            Space.between(0.1, 10.0, log=True),
        ),
        ("search.lr.high=0.5", "search.lr", Space.between(0.2, 0.5)),
        ("search.batch_size={choices: [8, 16]}", "search.batch_size", Space.of((8, 16))),
        ("search.batch_size=[8, 16]", "search.batch_size", Space.between(8, 16)),
        ("search.lambda_over_n=0", "search.lambda_over_n", Space.fixed(0.0)),
        ("data.classes=[1,2]", "data.classes", (1, 2)),
        ("data.classes=[001, 010, 009.Brewer]", "data.classes", (1, 10, "009.Brewer")),
        ("weights=/some/path", "weights", "/some/path"),
        ("weights=a=b.pth", "weights", "a=b.pth"),
        ("weights=none", "weights", "none"),
        ("datasets=[fieldguide]", "datasets", ("fieldguide",)),
        ("datasets=fieldguide", "datasets", ("fieldguide",)),
        ("data.root=/tmp/with #hash", "data.root", Path("/tmp/with #hash")),
        ("data.root=2024-01-01", "data.root", Path("2024-01-01")),
        ("name=2024", "name", "2024"),
        ("image.flip=no", "image.flip", False),
        ("train.weight_decay=1e-4", "train.weight_decay", 1e-4),
        ("confirm.epochs=null", "confirm.epochs", None),
        ("resources.max_concurrent=3", "resources.max_concurrent", 3),
        ("resources.gpus_per_trial=0.25", "resources.gpus_per_trial", 0.25),
        ("resources.gpus_per_trial=auto", "resources.gpus_per_trial", "auto"),
        ("search.arms=[]", "search.arms", ()),
        ("train={momentum: 0.5}", "train.momentum", 0.5),
    ],
)
def test_overrides(tmp_path: Path, override: str, attribute: str, value: object) -> None:
    recipe = load_recipe(write(tmp_path, f"{MINIMAL}search: {{lr: [0.2, 0.3]}}\n"), [override])
    found: object = recipe
    for part in attribute.split("."):
        found = getattr(found, part)
    assert found == value
    assert type(found) is type(value)


def test_override_of_a_backbone_whose_name_has_dots() -> None:
    recipe = load_recipe(
        {"datasets": ["digits"], "backbones": ["my.models:net"], "asha": {"max_epochs": 3}},
        ['train.per_backbone."my.models:net".batch_size=8'],
    )
    assert recipe.train_for("my.models:net")["batch_size"] == 8


def test_stated_learning_rate_is_not_searched() -> None:
    recipe = load_recipe(
        {"datasets": "digits", "backbones": "resnet50", "asha": {"max_epochs": 3}}, ["train.lr=0.3"]
    )
    assert recipe.search.lr is None
    assert recipe.train.lr == 0.3
    assert list(recipe.space_for("resnet50", "pc")) == ["lambda_over_n"]


def test_sources_and_overrides_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    odd = write(tmp_path, MINIMAL, "a=b.yaml")
    assert split_arguments(["x.yaml", "k=v", odd.name, "./k=v.yaml", 'a."b.c".d=1']) == (
        ["x.yaml", odd.name, "./k=v.yaml"],
        ["k=v", 'a."b.c".d=1'],
    )
    recipes = load_recipes(["search.trials=7", odd.name, "quickstart"], ["search.seed=3"])
    assert [recipe.name for recipe in recipes] == ["a-b", "quickstart"]
    assert {(recipe.search.trials, recipe.search.seed) for recipe in recipes} == {(7, 3)}


@pytest.mark.parametrize(
    ("gpu", "elsewhere", "name"),
    [
        (False, {}, "my-images-cpu"),
        (True, {}, "my-images"),
        (False, {"gpus": True}, "my-images"),
        (False, {"here": False}, "my-images"),
    ],
)
def test_own_images_without_a_recipe(
    gpu: bool,
    elsewhere: dict[str, bool],
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pcsearch.recipe.load.has_gpu", lambda: gpu)
    lines: list[str] = []
    (recipe,) = load_recipes(
        [], ["search.trials=2"], images=tmp_path, noted=lines.append, **elsewhere
    )
    assert recipe.name == name
    assert recipe.data.images == tmp_path
    assert recipe.search.trials == 2
    assert any("No GPU here" in line for line in lines) == (name == "my-images-cpu")
    amp = "auto" if name == "my-images-cpu" else True
    assert recipe.train.amp == amp
    assert recipe.train.weight_decay == 1e-4  # merged with the section of my-images


def test_own_images_with_another_recipe(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^--images .*: data.images is given, but datasets"):
        load_recipes(["quickstart"], images=tmp_path)


def test_empty_sections_and_odd_keys(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, f"{MINIMAL}search:\ntrain:\n  per_backbone:\n"))
    assert recipe.search.trials == 20
    with pytest.raises(UserError, match=r"my.yaml:4: on: unknown key"):
        load_recipe(write(tmp_path, f"{MINIMAL}on: 1\n"))


def test_plain_data_must_be_plain() -> None:
    with pytest.raises(UserError, match=r"recipe: backbone_options\.f is .* but must be plain"):
        load_recipe({"backbone_options": {"f": {1, 2}}})


def test_a_variable_is_the_default_of_the_data_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PCSEARCH_DATA", "/images")
    for text in ("", "data:\n", "data: {val_fraction: 0.1}\n"):
        assert load_recipe(write(tmp_path, MINIMAL + text)).data.root == Path("/images")
    stated = write(tmp_path, f"{MINIMAL}data: {{root: data}}\n")
    assert load_recipe(stated).data.root == Path("data")
    assert load_recipe("cub200", ["data.root=/mine"]).data.root == Path("/mine")
    assert load_recipe("cub200", here=False).data.root == Path("data"), "on a cluster"
    with pytest.raises(UserError, match=r"my.yaml:4: data is 3, but must be a mapping"):
        load_recipe(write(tmp_path, f"{MINIMAL}data: 3\n"))
