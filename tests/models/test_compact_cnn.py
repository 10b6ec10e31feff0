"""The small residual network: size, shapes, and that it learns."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from pcsearch.models import build_backbone
from pcsearch.models.compact_cnn import ResidualBlock


def test_parameter_count() -> None:
    module = build_backbone("compact_cnn", 10).module
    assert sum(p.numel() for p in module.parameters()) == 78_042


@pytest.mark.parametrize("size", [8, 28, 32, 33, 40, 64])
def test_sizes(size: int) -> None:
    backbone = build_backbone("compact_cnn", 4)
    assert backbone.module(torch.rand(2, 3, size, size)).shape == (2, 4)
    assert set(backbone.head_names) == {"head.weight", "head.bias"}


def test_block_is_the_identity_when_its_residual_is_zero() -> None:
    block = ResidualBlock(4, 4, stride=1)
    nn.init.zeros_(block.norm2.weight)
    maps = torch.rand(2, 4, 5, 5)
    assert torch.equal(block(maps), maps)


def test_width_scales_the_network() -> None:
    wide = build_backbone("compact_cnn", 10, options={"width": 32}).module
    assert wide.head.in_features == 128


def test_two_epochs_learn_the_digits() -> None:
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).div(8).sub(1)
    images = nn.functional.interpolate(images[:, None], 32, mode="bilinear").expand(-1, 3, -1, -1)
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    train, test = order[:1400], order[1400:]
    module = build_backbone("compact_cnn", 10, seed=1).module
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    batches = 2 * train.split(32)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, len(batches))
    for batch in batches:
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(images[batch]), labels[batch]).backward()
        optimizer.step()
        decay.step()
    with torch.no_grad():
        right = module.eval()(images[test]).argmax(1) == labels[test]
    assert right.double().mean() > 0.9
