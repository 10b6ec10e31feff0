"""What a recipe answers: spaces, settings, weights, images; and that it round-trips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pcsearch.arms import ARMS
from pcsearch.cluster.session.capacity import Capacity, Node, size_trials
from pcsearch.errors import UserError
from pcsearch.recipe import Recipe, Space, load_recipe, shipped_recipes
from pcsearch.recipe.load import description

OWN = {name: ["data.images=x"] for name in ("my-images", "my-images-cpu")} | {
    "my-manifest": ["data.manifest=x.csv"]
}
BASE: dict[str, Any] = {
    "datasets": ["digits", "fieldguide"],
    "backbones": ["resnet50", "vgg16"],
    "asha": {"max_epochs": 9, "grace_epochs": 2},
}


def recipe(**sections: Any) -> Recipe:
    return load_recipe({**BASE, **sections})


def test_a_shipped_recipe_can_be_cut_down_to_either_of_its_datasets() -> None:
    for dataset in ("digits", "fieldguide"):
        recipe = load_recipe("quickstart", [f"datasets=[{dataset}]"])
        assert recipe.datasets == (dataset,)


def test_spaces_of_the_arms_in_the_sampling_order() -> None:
    found = recipe(
        search={
            "head_only_epochs": [0, 1],
            "lr": 0.1,
            "weight_decay": [0, 1e-3],
            "arms": list(ARMS)[1:],
        }
    )
    shared = ["lr", "weight_decay", "head_only_epochs"]
    own = {
        "control": [],
        "pc": ["lambda_over_n"],
        "label_smoothing": ["label_smoothing"],
        "entropic": ["lambda"],
        "jeffreys": ["lambda"],
    }
    for arm, extra in own.items():
        assert list(found.space_for("resnet50", arm)) == [*shared, *extra]
    assert found.space_for("vgg16", "entropic")["lambda"] == Space.between(0.05, 2.0, log=True)
    assert found.space_for("vgg16", "jeffreys")["lambda"] == Space.between(1e-4, 0.1, log=True)
    assert found.space_for("vgg16", "control")["head_only_epochs"] == Space.between(0, 1)


def test_exceptions_of_a_backbone() -> None:
    found = recipe(
        search={"per_backbone": {"vgg16": {"lr": [0.1, 0.2], "lambda_over_n": 0.1}}},
        train={"batch_size": 16, "per_backbone": {"vgg16": {"schedule": "poly"}}},
        backbone_options={"vgg16": {"dropout": 0.2}},
        weights={"vgg16": "a.pth"},
    )
    assert found.space_for("vgg16", "pc")["lr"] == Space.between(0.1, 0.2)
    assert found.space_for("vgg16", "pc")["lambda_over_n"] == Space.fixed(0.1)
    assert found.space_for("resnet50", "pc")["lambda_over_n"] == Space.between(0.05, 0.15)
    assert found.train_for("vgg16")["schedule"] == "poly"
    assert found.train_for("vgg16")["batch_size"] == 16
    assert found.train_for("resnet50")["schedule"] == "linear"
    assert (found.weights_for("vgg16"), found.weights_for("resnet50")) == ("a.pth", "imagenet")
    assert (found.options_for("vgg16"), found.options_for("resnet50")) == ({"dropout": 0.2}, {})


@pytest.mark.parametrize(
    ("data", "image", "message"),
    [
        ({"levels": {"cub200": "family"}}, {}, "cub200 has no class hierarchy"),
        ({"levels": {"aircraft": "familly"}}, {}, "must be one of variant, family, manufacturer"),
        ({"levels": {"aircrafts": "family"}}, {}, 'did you mean "aircraft"'),
        ({"manifest": "x.csv"}, {}, r"datasets does not name manifest: .*datasets=\[manifest\]"),
        ({}, {"color_jitter": 2}, "image.color_jitter is 2, but must be at least 0 and at most 1"),
        ({}, {"color_jitter": {"hue": 0.1}}, "color_jitter.hue: unknown key"),
        ({}, {"random_erasing": 1.5}, "image.random_erasing is 1.5, but must be at most 1"),
        ({}, {"random_resized_crop": -1}, "random_resized_crop is -1, but must be at least 0"),
        (
            {},
            {"rand_augment": 31},
            "image.rand_augment is 31, but must be at least 0 and at most 30",
        ),
        ({}, {"rand_augment": {"magnitude": 2.5}}, "rand_augment.magnitude is 2.5"),
        (
            {},
            {"rand_augment": {"operations": 0}},
            "rand_augment.operations is 0, but must be at least 1",
        ),
        (
            {},
            {"rand_augment": {"operations": 9}},
            "rand_augment.operations is 9, but must be at most 8",
        ),
        ({}, {"rand_augment": {"magnitud": 2}}, 'unknown key, did you mean "magnitude"'),
        ({}, {"trivial_augment": 0.5}, "image.trivial_augment is 0.5, but must be"),
        (
            {},
            {"trivial_augment": True, "rand_augment": 9},
            "image.trivial_augment: does not go with image.rand_augment: both draw .* choose one",
        ),
        (
            {},
            {"trivial_augment": True, "per_dataset": {"digits": {"rand_augment": 9}}},
            "per_dataset.digits.rand_augment: does not go with image.trivial_augment",
        ),
        ({}, {"aspect": "keeep"}, 'warp, keep.*did you mean "keep"|warp, keep'),
    ],
)
def test_mistakes_with_data_and_image(data: Any, image: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        recipe(data=data, image=image)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (
            {"class_weights": "balancd"},
            'class_weights is "balancd", but must be none, balanced, .*, did you mean "balanced"',
        ),
        ({"class_weights": {}}, r"class_weights is {}, but must be none, balanced, or weights"),
        ({"class_weights": {"robin": -1}}, "class_weights.robin is -1, but must be greater than 0"),
        ({"class_weights": {"robin": "much"}}, 'class_weights.robin is "much", but must be a num'),
        ({"class_weights": {"robin": True}}, "class_weights.robin is true, but must be a number"),
        ({"sampling": "balance"}, 'train.sampling is "balance", .*did you mean "balanced"'),
        (
            {"sampling": "balanced", "class_weights": "balanced"},
            "train.class_weights is balanced, but train.sampling is balanced, too, .* choose one",
        ),
    ],
)
def test_mistakes_with_classes(train: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        recipe(train=train)


def test_class_weights_of_a_recipe() -> None:
    stated = {3: 2, "7": 0.5, "007.Auk": 1}
    found = recipe(train={"class_weights": stated, "sampling": "balanced"})
    assert found.train.class_weights == {"3": 2, "7": 0.5, "007.Auk": 1}
    assert load_recipe(found.to_mapping()) == found
    assert recipe().train.class_weights == "none"
    assert recipe().train.sampling == "uniform"
    per = {"per_backbone": {"resnet50": {"class_weights": "balanced"}}}
    assert recipe(train=per).train_for("resnet50")["class_weights"] == "balanced"


def test_a_number_is_the_magnitude_of_two_operations() -> None:
    found = recipe(image={"rand_augment": 9, "random_resized_crop": 0.25})
    assert found.image.augment() == {
        "random_resized_crop": (0.25,),
        "rand_augment": (2, 9),
        "trivial_augment": (False,),
        "color_jitter": (0.0, 0.0, 0.0),
        "random_erasing": (0.0,),
    }
    other = {"rand_augment": {"magnitude": 0}, "trivial_augment": True}
    found = recipe(image={"rand_augment": 9, "per_dataset": {"digits": other}})
    assert found.image_for("digits").augment()["trivial_augment"] == (True,)
    assert load_recipe(found.to_mapping()) == found


def test_one_number_stands_for_all_three_jitters() -> None:
    found = recipe(image={"color_jitter": 0.4, "per_dataset": {"digits": {"color_jitter": {}}}})
    assert set(found.image_for("fieldguide").color_jitter.model_dump().values()) == {0.4}
    assert set(found.image_for("digits").color_jitter.model_dump().values()) == {0.0}
    assert load_recipe(found.to_mapping()) == found


def test_image_of_a_dataset() -> None:
    found = recipe(image={"resize": 40, "crop": 32, "per_dataset": {"digits": {"flip": False}}})
    digits, fieldguide = found.image_for("digits"), found.image_for("fieldguide")
    assert (digits.flip, digits.resize, digits.crop) == (False, 40, 32)
    assert fieldguide.flip is True


def test_grid_turns_ranges_into_choices() -> None:
    found = recipe(
        search={
            "sampler": "grid",
            "arms": ["pc", "entropic"],
            "grid": {"lr": [0.1, 0.2], "lambda_over_n": [0.1], "entropic_lambda": [1, 2]},
        }
    )
    assert found.space_for("vgg16", "pc") == {
        "lr": Space.of((0.1, 0.2)),
        "lambda_over_n": Space.of((0.1,)),
    }
    assert found.space_for("vgg16", "entropic")["lambda"] == Space.of((1.0, 2.0))


def test_space_to_json_rebuilds_it() -> None:
    for space in (Space.fixed(3), Space.between(1, 2, log=True), Space.of((8, 16))):
        data = space.to_json()
        again = Space(**{**data, "choices": tuple(data["choices"]) if data["choices"] else None})
        assert again == space


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_shipped_recipes_are_valid_and_described(name: str) -> None:
    file = shipped_recipes()[name]
    found = load_recipe(file, OWN.get(name, ()))
    assert found.name == name
    assert 20 < len(description(file)) < 100


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_shipped_recipes_lead_to_a_verdict(name: str) -> None:
    """What is withheld for want of repeats or seeds would be a campaign for nothing."""
    recipe = load_recipe(name, images_needed=False)
    assert recipe.finalists.configs >= 1
    assert recipe.finalists.repeats >= 2
    assert recipe.confirm.seeds >= 3


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_shipped_recipes_fit_one_node_of_the_cluster(name: str) -> None:
    resources = load_recipe(name, images_needed=False).resources
    on_gpus = resources.gpus_per_trial == "auto" or resources.gpus_per_trial > 0
    sizing = size_trials(resources, Capacity((Node(4, 1),)))
    assert sizing.max_concurrent >= 1
    assert (sizing.gpus_per_trial > 0) == on_gpus


def test_bilinear_recipe_trains_in_two_stages() -> None:
    found = load_recipe("cub200-bilinear")
    train = found.train_for("bilinear_cnn")
    assert 0 < train["head_only_epochs"] < found.asha.grace_epochs < found.asha.max_epochs
    assert train["head_only_lr"] > found.space_for("bilinear_cnn", "pc")["lr"].highest
    assert (found.image.resize, found.image.crop) == (512, 448)


@pytest.mark.parametrize("name", ["cub200-convnext", "cub200-vit"])
def test_recipes_for_networks_of_today(name: str) -> None:
    found = load_recipe(name)
    train = found.train_for(found.backbones[0])
    assert (train["optimizer"], train["weight_decay_on"]) == ("adamw", "matrices")
    assert train["layer_lr_decay"] < 1
    assert 0 < train["ema_decay"] < 1
    assert found.asha.grace_epochs > train["warmup_epochs"]
    space = found.space_for(found.backbones[0], "pc")["lr"]
    assert space.log
    assert space.highest <= 0.001


def test_weights_in_the_own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert recipe(weights="~/a.pth").weights == str(tmp_path / "a.pth")
    assert recipe(weights={"vgg16": "~/a.pth"}).weights_for("vgg16") == str(tmp_path / "a.pth")


def test_quickstart_never_mirrors_digits() -> None:
    found = load_recipe("quickstart")
    assert not found.image_for("digits").flip
    assert found.image_for("fieldguide").flip


def test_train_section_has_the_settings_of_a_training() -> None:
    settings_module = pytest.importorskip("pcsearch.training.config")
    import dataclasses

    fields = {
        field.name: field.default for field in dataclasses.fields(settings_module.TrainConfig)
    }
    ours = recipe(train={"lr": 0.01}).train_for("resnet50")
    assert set(ours) == set(fields) - {"epochs", "seed", "lambda_", "own_loss"}
    for name, default in fields.items():
        if name in ours and name not in ("lr", "channels_last"):  # recipes have their own defaults
            assert ours[name] == default, name


def test_names_agree_with_the_loss() -> None:
    confusion = pytest.importorskip("pcsearch.losses")
    from pcsearch.losses.pairing import PAIRINGS

    for variant in confusion.VARIANTS:
        assert recipe(train={"variant": variant}).train.variant == variant
    for pairing in PAIRINGS:
        assert recipe(train={"pairing": pairing}).train.pairing == pairing
    assert {arm.variant for arm in ARMS.values()} - {None} <= set(confusion.VARIANTS)


def test_every_key_is_documented() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "recipes.md").read_text()
    content = load_recipe("quickstart").to_mapping()
    keys = set(content) | {
        key for part in content.values() if isinstance(part, dict) for key in part
    }
    missing = {key for key in keys if key not in text} - {"digits"}
    assert missing == set()
