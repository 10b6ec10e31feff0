from __future__ import annotations

import pytest
import torch

from pcsearch.errors import UserError
from pcsearch.training.optim import build_optimizer, set_lr, trained_parameters
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
