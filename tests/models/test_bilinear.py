"""Bilinear pooling against naive loops; the network; the maps it takes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from pcsearch.errors import UserError
from pcsearch.models import build_backbone
from pcsearch.models.bilinear import bilinear_pool, signed_sqrt

CONVOLUTIONAL = (
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "googlenet",
    "inception_v3",
    "mnasnet0_5",
    "mobilenet_v3_small",
    "regnet_y_400mf",
    "shufflenet_v2_x0_5",
    "vgg11_bn",
)


def naive_descriptor(maps: Tensor) -> list[float]:
    """Pool, signed square root and L2 norm of one image's maps `[C, H, W]`, by loops."""
    channels, height, width = maps.shape
    products = []
    for i in range(channels):
        for j in range(channels):
            total = 0.0
            for y in range(height):
                for x in range(width):
                    total += float(maps[i, y, x]) * float(maps[j, y, x])
            products.append(total / (height * width))
    roots = [math.copysign(math.sqrt(abs(value)), value) for value in products]
    norm = math.sqrt(sum(value * value for value in roots))
    return [value / norm for value in roots]


def test_descriptor_is_the_naive_one() -> None:
    maps = torch.randn(2, 4, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    descriptor = nn.functional.normalize(signed_sqrt(bilinear_pool(maps)))
    for image in range(2):
        naive = torch.tensor(naive_descriptor(maps[image]), dtype=torch.float64)
        torch.testing.assert_close(descriptor[image], naive, rtol=1e-6, atol=1e-8)


def test_pool_by_hand() -> None:
    maps = torch.tensor([[[[1.0, 2.0]], [[3.0, -4.0]]]])  # two channels at two positions
    assert bilinear_pool(maps).tolist() == [[2.5, -2.5, -2.5, 12.5]]


def test_signed_sqrt_and_its_slope_at_zero() -> None:
    values = torch.tensor([-4.0, 0.0, -0.0, 9.0, 1e-30], requires_grad=True)
    roots = signed_sqrt(values)
    torch.testing.assert_close(roots.detach(), torch.tensor([-2.0, 0.0, 0.0, 3.0, 1e-5]))
    roots.sum().backward()
    assert values.grad is not None
    assert values.grad.isfinite().all()
    assert values.grad[1] == 0


def test_gradcheck() -> None:
    maps = torch.randn(2, 3, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    maps.requires_grad_()
    assert torch.autograd.gradcheck(lambda m: signed_sqrt(bilinear_pool(m)), (maps,))


def test_dead_features_train_without_nan() -> None:
    backbone = build_backbone("bilinear_cnn", 3, options={"features": "compact_cnn"})
    with torch.no_grad():
        for parameter in backbone.body_parameters():
            parameter.zero_()
    logits = backbone.module(torch.rand(2, 3, 32, 32))
    nn.functional.cross_entropy(logits, torch.tensor([0, 1])).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in backbone.module.parameters())


def test_float32_under_autocast() -> None:
    maps = torch.full((1, 2, 4, 4), 300.0, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pooled = bilinear_pool(maps)
    assert pooled.dtype == torch.float32
    assert pooled.unique().tolist() == [float(maps[0, 0, 0, 0]) ** 2]


def test_default_is_vgg16_conv5_3_after_relu_without_the_last_pool() -> None:
    backbone = build_backbone("bilinear_cnn", 5, seed=4)
    trunk = backbone.module.trunk.eval()
    assert backbone.module.head.weight.shape == (5, 512 * 512)
    assert isinstance(backbone.module.project, nn.Identity)
    assert set(backbone.head_names) == {"head.weight", "head.bias"}
    assert len(backbone.body_parameters()) == 2 * 13
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        maps = images
        for index in range(30):  # features[29] is the ReLU of conv5_3, features[30] the pool
            maps = trunk.layers.features.get_submodule(str(index))(maps)
        assert maps.shape == (1, 512, 4, 4)
        torch.testing.assert_close(trunk(images), maps)


@pytest.mark.parametrize(
    ("features", "channels"),
    [("alexnet", 256), ("resnet18", 512), ("squeezenet1_1", 512), ("compact_cnn", 64)],
)
def test_other_features(features: str, channels: int) -> None:
    backbone = build_backbone("bilinear_cnn", 3, options={"features": features, "channels": 16})
    assert backbone.module.trunk.channels == channels
    assert backbone.module.project.weight.shape == (16, channels, 1, 1)
    assert len(backbone.head_parameters()) == 4
    for training in (True, False):
        assert backbone.module.train(training)(torch.rand(2, 3, 64, 64)).shape == (2, 3)


@pytest.mark.slow
@pytest.mark.parametrize("features", CONVOLUTIONAL)
def test_convolutional_families_as_features(features: str) -> None:
    options = {"features": features, "channels": 16}
    module = build_backbone("bilinear_cnn", 3, options=options).module
    plain = build_backbone(features, 3).module.state_dict()
    trunk = [key for key in module.state_dict() if key.startswith("trunk.")]
    assert trunk
    assert {key.removeprefix("trunk.layers.") for key in trunk} <= set(plain)
    for training in (True, False):
        assert module.train(training)(torch.rand(2, 3, 160, 160)).shape == (2, 3)


@pytest.mark.parametrize("features", ["vit_b_32", "swin_t"])
def test_transformers_have_no_maps(features: str) -> None:
    with pytest.raises(UserError, match=f"{features} is not a convolutional backbone"):
        build_backbone("bilinear_cnn", 3, options={"features": features})
