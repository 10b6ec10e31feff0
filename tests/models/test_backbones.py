"""Backbones by name: contract, determinism, options, errors."""

from __future__ import annotations

import copy
import pickle
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from pcsearch.errors import UserError
from pcsearch.models import (
    Backbone,
    LoadReport,
    build_backbone,
    check_backbone,
    check_options,
    known_backbones,
)
from pcsearch.models.torchvision import classifier_names

SMALL = ("compact_cnn", "squeezenet1_1", "shufflenet_v2_x0_5")


def tensors_equal(a: Backbone, b: Backbone) -> bool:
    pairs = zip(a.module.state_dict().values(), b.module.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("name", SMALL)
def test_same_seed_same_network_whatever_the_global_state(name: str) -> None:
    torch.manual_seed(1)
    first = build_backbone(name, 3, seed=5)
    torch.manual_seed(2)
    assert tensors_equal(first, build_backbone(name, 3, seed=5))
    assert not tensors_equal(first, build_backbone(name, 3, seed=6))


@pytest.mark.parametrize("name", [*SMALL, "bilinear_cnn"])
def test_global_generators_are_left_alone(name: str) -> None:
    options = {"features": "squeezenet1_1", "channels": 8} if name == "bilinear_cnn" else {}
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    build_backbone(name, 3, options=options, seed=5)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    assert np.array_equal(before[2], np.random.get_state()[1])


def test_without_weights_the_report_is_empty() -> None:
    assert build_backbone("compact_cnn", 3).loading == LoadReport("none", (), ())


def test_head_gets_the_gradient_of_its_own_parameters() -> None:
    backbone = build_backbone("squeezenet1_1", 3)
    for parameter in backbone.body_parameters():
        parameter.requires_grad_(False)
    backbone.module(torch.rand(2, 3, 64, 64)).sum().backward()
    assert all(p.grad is not None for p in backbone.head_parameters())
    assert all(p.grad is None for p in backbone.body_parameters())


def test_copies_and_pickles() -> None:
    backbone = build_backbone("googlenet", 3, options={"aux": True})
    assert tensors_equal(backbone, copy.deepcopy(backbone))
    restored = pickle.loads(pickle.dumps(backbone))
    logits, auxiliary = restored.module.train()(torch.rand(2, 3, 64, 64))
    assert isinstance(auxiliary, list)
    assert logits.shape == (2, 3)


@pytest.mark.parametrize(("name", "count"), [("googlenet", 2), ("inception_v3", 1)])
def test_auxiliary_heads_only_on_request(name: str, count: int) -> None:
    images = torch.rand(2, 3, 96, 96)
    plain = build_backbone(name, 4).module
    assert isinstance(plain.train()(images), Tensor)
    assert not any("aux" in key.lower() for key in plain.state_dict())

    backbone = build_backbone(name, 4, options={"aux": True})
    if name == "inception_v3":  # Its auxiliary head needs 17x17 maps.
        images = torch.rand(2, 3, 299, 299)
    output = backbone.module.train()(images)
    assert type(output) is tuple
    logits, auxiliary = output
    assert [tuple(t.shape) for t in (logits, *auxiliary)] == [(2, 4)] * (1 + count)
    assert len(backbone.head_parameters()) == 2 * (1 + count)
    assert isinstance(backbone.module.eval()(images), Tensor)


def test_options_reach_the_network() -> None:
    dropout = build_backbone("squeezenet1_1", 3, options={"dropout": 0.25}).module.classifier[0]
    assert dropout.p == 0.25
    net = build_backbone("efficientnet_b0", 3, options={"stochastic_depth_prob": 0.5}).module
    drop_paths = [m.p for m in net.modules() if type(m).__name__ == "StochasticDepth"]
    assert max(drop_paths) == pytest.approx(0.5 * 15 / 16)  # of 16 blocks, the deepest most
    image_size = build_backbone("vit_b_32", 3, options={"image_size": 64}).module.image_size
    assert image_size == 64


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vgg16", {"droput": 0.1}, 'vgg16 has no option "droput", did you mean "dropout"'),
        ("vgg16", {"dropout": "high"}, "`dropout` is 'high', but must be of type float"),
        ("resnet50", {"aux": True}, 'resnet50 has no option "aux"'),
        ("googlenet", {"aux": 1}, "must be of type bool"),
        ("compact_cnn", {"width": True}, "must be of type int"),
        ("compact_cnn", {"depth": 3, "wide": 1}, 'option "depth".*\n.*option "wide"'),
        ("bilinear_cnn", {"features": "vgg_16"}, 'unknown backbone "vgg_16".*mean "vgg16"'),
        ("bilinear_cnn", {"features": "bilinear_cnn"}, "unknown backbone"),
    ],
)
def test_wrong_options(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_options(name, options)
    with pytest.raises(UserError, match=message):
        build_backbone(name, 3, options=options)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("squeezenet1_1", {"dropout": 1.5}),
        ("mnasnet0_5", {"dropout": -1}),
        ("compact_cnn", {"width": 0}),
        ("bilinear_cnn", {"features": "compact_cnn", "channels": 0}),
    ],
)
def test_impossible_values(name: str, options: dict[str, object]) -> None:
    check_options(name, options)
    with pytest.raises(UserError, match=name):
        build_backbone(name, 3, options=options)


def test_names() -> None:
    assert {"compact_cnn", "bilinear_cnn", "vgg16", "densenet161"} <= set(known_backbones())
    for name in known_backbones():
        check_backbone(name)
        check_options(name, {})
    assert known_backbones() == ("compact_cnn", "bilinear_cnn", *classifier_names())
    with pytest.raises(UserError, match='unknown backbone "resnet5O", did you mean "resnet50"'):
        check_backbone("resnet5O")
    with pytest.raises(UserError, match="num_classes"):
        build_backbone("compact_cnn", 0)


def test_imagenet_weights_that_do_not_exist() -> None:
    for name, options in (("compact_cnn", {}), ("bilinear_cnn", {"features": "compact_cnn"})):
        with pytest.raises(UserError, match="no ImageNet weights for compact_cnn"):
            build_backbone(name, 3, weights="imagenet", options=options)


def test_quiet_and_without_the_search_libraries() -> None:
    code = (
        "import sys\n"
        "from pcsearch.models import build_backbone\n"
        "for name in ('googlenet', 'inception_v3', 'mnasnet0_5'):\n"
        "    build_backbone(name, 3)\n"
        "build_backbone('bilinear_cnn', 3, options={'features': 'shufflenet_v2_x0_5'})\n"
        "assert not {'ray', 'optuna', 'pydantic', 'typer', 'rich'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "always::UserWarning", "-W", "always::FutureWarning", "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_names_and_our_options_are_known_without_torch() -> None:
    code = (
        "import sys\n"
        "from pcsearch.models.names import known_backbones, wrong_name, wrong_options\n"
        "assert 'resnet50' in known_backbones() and wrong_name('resnet51')\n"
        "assert list(wrong_options('compact_cnn', {'widht': 3})) == ['widht']\n"
        "assert wrong_options('bilinear_cnn', {'features': 'resnet18'}) == {}\n"
        "assert not {'torch', 'torchvision'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
