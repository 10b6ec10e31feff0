"""Networks tried before a campaign: reports of weights, images that do not fit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pcsearch import api
from pcsearch.code_consent import VARIABLE
from pcsearch.errors import UserError
from pcsearch.execution.preflight.model_check import (
    ENOUGH_PIXELS,
    NetworkReport,
    _normalisation,
    check_networks,
)
from pcsearch.models import build_backbone
from pcsearch.models.heads import failed_pass
from pcsearch.recipe.load import load_recipe
from pcsearch.recipe.schema import Recipe
from pcsearch.search.observer import Silent

NAME = "squeezenet1_1"

OWN = """
from torch import nn

class Features(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.body = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, num_classes)

    def forward(self, images):
        return self.body(images).mean((2, 3))

class Several(Features):
    def forward(self, images):
        return [super().forward(images)]

def features(num_classes):
    return Features(num_classes)

def several(num_classes):
    return Several(num_classes)
"""


@pytest.fixture(autouse=True)
def consent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The networks that these tests write down may be run."""
    monkeypatch.setenv(VARIABLE, "own_networks")


def recipe(backbone: str, crop: int = 32, weights: str = "none", **more: object) -> Recipe:
    return load_recipe(
        {
            "name": "try",
            "datasets": ["digits"],
            "backbones": [backbone],
            "weights": weights,
            "image": {"resize": 300, "crop": crop},
            "asha": {"max_epochs": 3},
            **more,
        }
    )


def saved(state: dict[str, Tensor], folder: Path) -> str:
    torch.save(state, folder / "w.pth")
    return str(folder / "w.pth")


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return dict(build_backbone(NAME, 7).module.state_dict())


def test_a_plain_network_needs_no_torch() -> None:
    script = (
        "import sys; from pcsearch.recipe.load import load_recipe\n"
        "from pcsearch.execution.preflight.model_check import check_networks\n"
        f"assert check_networks(load_recipe({recipe('compact_cnn').to_mapping()!r})) == ()\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("name", ENOUGH_PIXELS)
def test_plain_networks_work_on_images_that_count_as_enough(name: str) -> None:
    # shapes without the arithmetic, which suffices but for what looks at its device
    with torch.device("cpu" if name == "bilinear_cnn" else "meta"):
        module = build_backbone(name, 3).module
        assert failed_pass(module, 3, ENOUGH_PIXELS[name], training=False) is None


def test_the_head_of_another_size(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = saved(state, tmp_path)
    (report,) = check_networks(recipe(NAME, weights=path))
    assert report.dropped == report.head == ("classifier.1.weight", "classifier.1.bias")
    assert report.missing == ()
    assert report.sentences() == (
        f"{NAME}: the head (2 tensors) is re-initialised unless the file has the dataset's number "
        f"of classes; everything else comes from {path}",
    )


def test_no_head_in_the_file_a_layer_missing_and_one_too_many(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    gone = ("classifier.1.weight", "classifier.1.bias", "features.3.squeeze.bias")
    kept = {key: value for key, value in state.items() if key not in gone}
    path = saved(kept | {"loss.weight": torch.ones(2)}, tmp_path)
    (report,) = check_networks(recipe(NAME, weights=path))
    assert report.sentences() == (
        f"{NAME}: the head (2 tensors) is re-initialised; the rest of the body comes from {path}",
        f"{NAME}: 1 tensor of the body is not in {path} and is re-initialised: "
        "features.3.squeeze.bias",
        f"{NAME}: 1 tensor of {path} has no place in this network and is not used: loss.weight",
    )


FROZEN = {"train": {"freeze": "body"}}


def test_a_frozen_body_must_not_be_random(state: dict[str, Tensor], tmp_path: Path) -> None:
    message = "train.freeze is body, but the body starts at random, because its weights are none"
    with pytest.raises(UserError, match=message):
        check_networks(recipe("compact_cnn", **FROZEN))
    path = saved({k: v for k, v in state.items() if k != "features.3.squeeze.weight"}, tmp_path)
    check_networks(recipe(NAME, weights=path))
    message = r"because 1 tensor of it is not in .*w.pth \(features.3.squeeze.weight\)"
    with pytest.raises(UserError, match=message):
        check_networks(recipe(NAME, weights=path, **FROZEN))
    check_networks(recipe(NAME, weights=saved(state, tmp_path), **FROZEN))


def test_a_network_that_cannot_be_cut_is_refused_by_name() -> None:
    options = {"googlenet": {"aux": True}}
    with pytest.raises(UserError, match=r"^googlenet: train.freeze: body needs a network whose"):
        check_networks(recipe("googlenet", 64, backbone_options=options, **FROZEN))


def test_many_names_are_cut_short() -> None:
    names = tuple(f"body.{index}" for index in range(5))
    report = NetworkReport("net", "w.pth", missing=names, head=("head.weight",))
    assert report.sentences() == (
        "net: the head (1 tensor) comes from the file if the numbers of classes agree; the rest of "
        "the body comes from w.pth",
        "net: 5 tensors of the body are not in w.pth and are re-initialised: body.0, body.1, "
        "body.2, ...",
    )


def test_without_weights_there_is_nothing_to_say() -> None:
    options = {"backbone_options": {"compact_cnn": {"width": 4}}}
    (report,) = check_networks(recipe("compact_cnn", **options))
    assert report.weights == "none"
    assert report.sentences() == ()


EXPECTS = (
    "its ImageNet weights expect another normalisation: set image.mean=[0.5, 0.5, 0.5] and "
    "image.std=[0.5, 0.5, 0.5], not [0.485, 0.456, 0.406] and [0.229, 0.224, 0.225]"
)


def test_weights_that_expect_other_images_than_the_recipe_makes() -> None:
    """Said before a campaign starts, even where the weights are not loaded yet."""
    name = "efficientnet_v2_l"
    (report,) = check_networks(recipe(name, weights="imagenet"), download=False)
    assert report.weights == "none"
    assert report.sentences() == report.warnings() == (f"{name}: {EXPECTS}",)


def test_what_the_weights_expect_is_torchvisions_word() -> None:
    halves = {"resize": 300, "crop": 32, "mean": [0.5] * 3, "std": [0.5] * 3}
    large = "efficientnet_v2_l"
    assert _normalisation(recipe(large, weights="imagenet", image=halves), large) == ""
    usual = "set image.mean=[0.485, 0.456, 0.406] and image.std=[0.229, 0.224, 0.225], not"
    for name in ("resnet50", "efficientnet_v2_s", "bilinear_cnn"):
        assert _normalisation(recipe(name, weights="imagenet"), name) == ""
        assert usual in _normalisation(recipe(name, weights="imagenet", image=halves), name)
        assert _normalisation(recipe(name, weights="none", image=halves), name) == ""
        assert _normalisation(recipe(name, weights="/my/own.pth", image=halves), name) == ""
    chosen = {"bilinear_cnn": {"features": "efficientnet_v2_l"}}
    bilinear = recipe("bilinear_cnn", weights="imagenet", backbone_options=chosen)
    assert _normalisation(bilinear, "bilinear_cnn") == EXPECTS


def test_backbones_that_expect_different_images_may_need_recipes_of_their_own() -> None:
    both = recipe("resnet50", weights="imagenet", backbones=["resnet50", "efficientnet_v2_l"])
    assert _normalisation(both, "resnet50") == ""
    assert "every backbone of a recipe" in _normalisation(both, "efficientnet_v2_l")


def test_a_plan_says_what_the_weights_expect() -> None:
    class Noting(Silent):
        def __init__(self) -> None:
            self.lines: list[str] = []

        def noted(self, line: str) -> None:
            self.lines.append(line)

    chosen = ["datasets=[fieldguide]", "weights=imagenet", "backbones=[squeezenet1_1]"]
    watcher = Noting()
    api.plan_all(["quickstart", *chosen, "image.mean=[0.5, 0.5, 0.5]"], observer=watcher)
    (line,) = watcher.lines
    assert line.startswith("squeezenet1_1: its ImageNet weights expect another normalisation: set")


@pytest.mark.parametrize(
    ("name", "crop", "reason"),
    [("vit_b_16", 112, "Wrong image height! Expected 224 but got 112"), ("vgg16", 16, "too small")],
)
def test_images_that_the_network_does_not_take(name: str, crop: int, reason: str) -> None:
    with pytest.raises(UserError, match=rf"{name} fails on images of {crop} x {crop}.*{reason}"):
        check_networks(recipe(name, crop))


def test_every_datasets_crop_is_tried() -> None:
    chosen = recipe(
        "vgg11",
        64,
        datasets=["digits", "fieldguide"],
        image={"resize": 64, "crop": 64, "per_dataset": {"fieldguide": {"crop": 16}}},
    )
    with pytest.raises(UserError, match=r"16 x 16 pixels \(image\.crop of fieldguide\)"):
        check_networks(chosen)


def test_auxiliary_heads_that_need_larger_images() -> None:
    chosen = recipe("inception_v3", 224, backbone_options={"inception_v3": {"aux": True}})
    with pytest.raises(UserError, match=r"in training: .*Kernel size"):
        check_networks(chosen)
    check_networks(recipe("inception_v3", 224))


@pytest.mark.parametrize(
    ("function", "reason"),
    [("features", r"shape \[2, 4\], but must be logits \[2, 3\]"), ("several", "is a list")],
)
def test_a_network_of_ones_own_that_returns_no_logits(
    function: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_networks.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=reason):
        check_networks(recipe(f"own_networks:{function}"))
    sys.modules.pop("own_networks", None)


def test_a_try_leaves_the_global_generator_alone() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(12, 2))
    before = torch.get_rng_state()
    assert failed_pass(module, 2, 2, training=True) is None
    assert torch.equal(torch.get_rng_state(), before)
