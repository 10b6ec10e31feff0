from __future__ import annotations

import pytest
import torch
from torch import nn

from pcsearch.errors import UserError
from pcsearch.training.optim import (
    build_optimizer,
    is_decayed,
    layers_of,
    set_lr,
    trained_parameters,
)
from tests.training.helpers import MemoryBatches, perceptron, settings, state, train


def test_groups_and_their_rates() -> None:
    backbone = perceptron(norm=True)
    optimizer = build_optimizer(backbone, settings(head_lr_multiplier=10.0))  # type: ignore[arg-type]
    set_lr(optimizer, 0.02)
    body, head = optimizer.param_groups
    assert [body["lr"], head["lr"]] == pytest.approx([0.02, 0.2])
    assert set(map(id, head["params"])) == set(map(id, backbone.head_parameters()))
    assert len(trained_parameters(optimizer)) == len(list(backbone.module.parameters()))


def test_weight_decay_spares_no_parameter() -> None:
    backbone = perceptron(norm=True)
    for name in ("sgd", "adamw"):
        optimizer = build_optimizer(backbone, settings(optimizer=name, weight_decay=0.3))  # type: ignore[arg-type]
        assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.3]


def test_a_body_the_user_froze_is_left_out() -> None:
    backbone = perceptron()
    for parameter in backbone.body_parameters():
        parameter.requires_grad_(False)
    optimizer = build_optimizer(backbone, settings(head_lr_multiplier=3.0))  # type: ignore[arg-type]
    assert [group["lr_multiplier"] for group in optimizer.param_groups] == [3.0]
    for parameter in backbone.head_parameters():
        parameter.requires_grad_(False)
    with pytest.raises(UserError, match="nothing to train"):
        build_optimizer(backbone, settings())  # type: ignore[arg-type]


def test_two_sgd_updates_by_hand() -> None:
    """g' = g + wd·w; v = m·v + g'; w = w − lr·v (PyTorch's SGD), with linear decay 1, 1/2."""
    batches = MemoryBatches(images=16, batch_size=8)
    backbone = perceptron()
    chosen = settings(epochs=1, lr=0.1, momentum=0.9, weight_decay=0.01, head_lr_multiplier=4.0)
    reference = perceptron()
    weights = dict(reference.module.named_parameters())
    head = set(map(id, reference.head_parameters()))
    velocity = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for (images, labels), factor in zip(batches.epoch(1), (1.0, 0.5), strict=True):
        probabilities = reference.module(images).softmax(dim=1)
        loss = -probabilities[range(len(labels)), labels].log().mean()
        gradients = torch.autograd.grad(loss, list(weights.values()))
        with torch.no_grad():
            for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
                velocity[name] = 0.9 * velocity[name] + gradient + 0.01 * weight
                lr = 0.1 * factor * (4.0 if id(weight) in head else 1.0)
                weight -= lr * velocity[name]
    list(train(backbone, batches, chosen))
    for name, weight in state(backbone).items():
        torch.testing.assert_close(weight, weights[name].detach(), rtol=1e-5, atol=1e-6)


def test_first_adamw_update_is_the_sign_of_the_gradient() -> None:
    """Bias-corrected, Adam's first update is lr·g/(|g| + eps), after the decay w·(1 − lr·wd)."""
    batches = MemoryBatches(images=8, batch_size=8)
    backbone = perceptron()
    before = state(backbone)
    images, labels = next(batches.epoch(1))
    torch.nn.functional.cross_entropy(backbone.module(images), labels).backward()
    gradients = {
        n: p.grad.clone() for n, p in backbone.module.named_parameters() if p.grad is not None
    }
    list(train(backbone, batches, settings(epochs=1, optimizer="adamw", weight_decay=0.5)))
    for name, weight in state(backbone).items():
        gradient = gradients[name]
        expected = before[name] * (1 - 0.1 * 0.5) - 0.1 * gradient / (gradient.abs() + 1e-8)
        torch.testing.assert_close(weight, expected, rtol=1e-4, atol=1e-5)


def test_one_rate_and_one_decay_make_the_two_groups_of_before() -> None:
    optimizer = build_optimizer(perceptron(norm=True), settings())  # type: ignore[arg-type]
    assert [len(group["params"]) for group in optimizer.param_groups] == [4, 2]


def test_matrices_alone_are_decayed() -> None:
    backbone = perceptron(norm=True)
    chosen = settings(weight_decay=0.1, weight_decay_on="matrices")
    optimizer = build_optimizer(backbone, chosen)  # type: ignore[arg-type]
    names = {id(parameter): name for name, parameter in backbone.module.named_parameters()}
    decayed = {
        names[id(parameter)]: group["weight_decay"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert decayed == {
        "1.weight": 0.1, "1.bias": 0.0, "2.weight": 0.0, "2.bias": 0.0,
        "5.weight": 0.1, "5.bias": 0.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "shape", "decayed"),
    [
        ("layer1.0.conv1.weight", (8, 3, 3, 3), True),
        ("features.norm0.weight", (8,), False),
        ("head.bias", (8,), False),
        ("class_token", (1, 1, 8), False),
        ("encoder.pos_embedding", (1, 5, 8), False),
        ("attn.relative_position_bias_table", (9, 2), False),
        ("layer_scale", (8, 1, 1), False),
    ],
)
def test_what_is_decayed_by_name(name: str, shape: tuple[int, ...], decayed: bool) -> None:
    assert is_decayed(name, nn.Parameter(torch.zeros(shape))) == decayed


def test_layers_learn_more_slowly_towards_the_images() -> None:
    """Body of two layers with parameters: rates 0.1 · 0.5², 0.1 · 0.5; the head has 0.1 · 10."""
    backbone = perceptron(norm=True)
    chosen = settings(layer_lr_decay=0.5, head_lr_multiplier=10.0)
    optimizer = build_optimizer(backbone, chosen)  # type: ignore[arg-type]
    set_lr(optimizer, 0.1)
    rates = [(len(group["params"]), group["lr"]) for group in optimizer.param_groups]
    assert rates == [(2, pytest.approx(0.025)), (2, pytest.approx(0.05)), (2, pytest.approx(1.0))]


@pytest.mark.parametrize(
    ("name", "layers", "first"),
    [
        ("resnet18", 11, 64 * 3 * 49),  # conv1, bn1, 8 blocks, fc
        ("squeezenet1_1", 10, 64 * 3 * 9 + 64),  # a convolution, 8 Fire modules, the classifier
        ("vit_b_16", 15, 768 * 3 * 256 + 768 + 768),  # conv_proj and class token, ...
    ],
)
def test_layers_of_real_networks(name: str, layers: int, first: int) -> None:
    import torchvision

    with torch.device("meta"):
        module = torchvision.models.get_model(name, weights=None)
    found = layers_of(module)
    assert len(found) == layers
    assert sum(parameter.numel() for parameter in found[0]) >= first
    counted = [id(parameter) for layer in found for parameter in layer]
    assert sorted(counted) == sorted(id(parameter) for parameter in module.parameters())
