"""ImageNet weights: from torchvision's cache, or a message that says how to go on."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from torchvision import models as zoo

from pcsearch.errors import UserError
from pcsearch.models import PublishedWeights, build_backbone, published_weights
from pcsearch.models.torchvision import cached_file

NAME = "squeezenet1_1"


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty torchvision cache, on a machine that reaches no server."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    return tmp_path / "hub" / "checkpoints"


def test_no_network_and_no_file(empty_cache: Path) -> None:
    start = time.perf_counter()
    with pytest.raises(UserError) as caught:
        build_backbone("resnet50", 3, weights="imagenet")
    assert time.perf_counter() - start < 15
    message = str(caught.value)
    for part in (
        str(empty_cache / "resnet50-0676ba61.pth"),
        "https://download.pytorch.org/models/resnet50-0676ba61.pth",
        "weights: PATH",
        "weights: none",
    ):
        assert part in message
    assert not list(empty_cache.glob("*"))


def test_bilinear_asks_for_its_features(empty_cache: Path) -> None:
    with pytest.raises(UserError, match=r"vgg16-397923af\.pth"):
        build_backbone("bilinear_cnn", 3, weights="imagenet")


def test_cached_file_is_used(empty_cache: Path) -> None:
    state = build_backbone(NAME, 1000, seed=8).module.state_dict()
    empty_cache.mkdir(parents=True)
    torch.save(state, cached_file(NAME))
    assert cached_file(NAME).parent == empty_cache
    backbone = build_backbone(NAME, 3, weights="imagenet")
    first = backbone.module.state_dict()["features.0.weight"]
    assert torch.equal(first, state["features.0.weight"])
    assert backbone.loading.source == f"imagenet: {cached_file(NAME).name}"
    assert backbone.loading.dropped == ("classifier.1.weight", "classifier.1.bias")


def test_damaged_cached_file_is_named(empty_cache: Path) -> None:
    empty_cache.mkdir(parents=True)
    cached_file(NAME).write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(UserError, match=cached_file(NAME).name):
        build_backbone(NAME, 3, weights="imagenet")


def test_every_classifier_has_a_file_of_the_usual_size() -> None:
    for name in zoo.list_models(module=zoo):
        assert cached_file(name).suffix == ".pth"
    for name in ("vit_h_14", "regnet_y_128gf"):  # Their default files are for 384 pixels and more.
        assert "_lc_" in cached_file(name).name or "lp" in cached_file(name).name


def test_the_licence_is_the_one_that_torchvision_states() -> None:
    """torchvision states a licence for SWAG's weights alone."""
    recipe = "https://github.com/pytorch/vision/tree/main/references/classification#resnet"
    assert published_weights("resnet50", "imagenet") == PublishedWeights(
        "resnet50-0676ba61.pth", "torchvision", None, recipe
    )
    swag = published_weights("vit_h_14", "imagenet")
    assert swag is not None
    assert swag.licence == "https://github.com/facebookresearch/SWAG/blob/main/LICENSE"
    vgg = published_weights("bilinear_cnn", "imagenet")
    assert vgg is not None
    assert vgg.file == "vgg16-397923af.pth"
    for weights in ("none", "some/file.pth"):
        assert published_weights("resnet50", weights) is None
    assert published_weights("compact_cnn", "imagenet") is None
