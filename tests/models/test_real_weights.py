"""Pretrained weights of real networks, where they lie beside the repository."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pcsearch.models import build_backbone

FOLDER = Path(__file__).resolve().parents[2] / "../shared/weights"
MOBILENET = FOLDER / "mobilenet_v2-imagenet-fp16.pth"
SQUEEZENET = FOLDER / "squeezenet1_1-imagenet-features-fp16.pth"

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no real weights in {FOLDER}"),
]


def test_mobilenet_loads_whole() -> None:
    backbone = build_backbone("mobilenet_v2", 1000, weights=str(MOBILENET))
    assert backbone.loading.dropped == backbone.loading.missing == ()
    file = torch.load(MOBILENET, weights_only=True)
    own = backbone.module.state_dict()
    assert all(torch.equal(own[key], value.to(own[key].dtype)) for key, value in file.items())


def test_mobilenet_for_other_classes_drops_the_head_only() -> None:
    loading = build_backbone("mobilenet_v2", 50, weights=str(MOBILENET)).loading
    assert loading.dropped == ("classifier.1.weight", "classifier.1.bias")
    assert loading.missing == ()


def test_squeezenet_features_miss_the_head() -> None:
    backbone = build_backbone("squeezenet1_1", 50, weights=str(SQUEEZENET))
    assert set(backbone.loading.missing) == set(backbone.head_names)
    assert backbone.loading.missing == ("classifier.1.weight", "classifier.1.bias")
    assert backbone.loading.dropped == ()


def test_squeezenet_features_for_bilinear() -> None:
    backbone = build_backbone(
        "bilinear_cnn", 50, weights=str(SQUEEZENET), options={"features": "squeezenet1_1"}
    )
    assert set(backbone.loading.missing) == set(backbone.head_names)
