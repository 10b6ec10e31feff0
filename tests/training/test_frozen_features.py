from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pcsearch.data.loaders import EvalBatches
from pcsearch.data.preprocessing import Preprocessing
from pcsearch.errors import UserError
from pcsearch.losses import PairwiseConfusionLoss, epoch_batches
from pcsearch.models import Backbone, LoadReport, build_backbone
from pcsearch.training.frozen_features import (
    MOMENTUM,
    HeadSettings,
    correct_predictions,
    extract_features,
    rotated,
    scaled,
    train_heads,
)

CLASSES = 4
SETTINGS = HeadSettings(
    lambdas=(0.0, 0.4, 4.0), rates=(0.1, 1.0), epochs=3, batch_size=8, variant="euclidean"
)


def problem(images: int = 37, dimensions: int = 6, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (images,), generator=generator)
    centres = torch.randn(CLASSES, dimensions, generator=generator)
    noise = torch.randn(images, dimensions, generator=generator)
    return (centres[labels] + noise) / dimensions**0.5, labels


def naive_head(
    features: Tensor, labels: Tensor, settings: HeadSettings, lambda_: float, rate: float, seed: int
) -> nn.Linear:
    """One head, as anyone writes it: nn.Linear, the loss, torch's SGD, linear decay."""
    head = nn.Linear(features.shape[1], CLASSES)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    criterion = PairwiseConfusionLoss(lambda_, settings.variant)
    optimizer = torch.optim.SGD(head.parameters(), lr=rate, momentum=MOMENTUM)
    generator = torch.Generator().manual_seed(seed)
    batches: list[Tensor] = []
    for _ in range(settings.epochs):
        batches += epoch_batches(len(features), settings.batch_size, settings.pairing, generator)
    for step, batch in enumerate(batches):
        optimizer.param_groups[0]["lr"] = rate * (1 - step / len(batches))
        optimizer.zero_grad()
        criterion(head(features[batch]), labels[batch]).backward()
        optimizer.step()
    return head


@pytest.mark.parametrize("variant", ["euclidean", "norm", "entropic"])
@pytest.mark.parametrize("pairing", ["split_batch", "two_shuffles"])
def test_heads_are_those_of_a_plain_loop_over_each(variant: str, pairing: str) -> None:
    features, labels = problem()
    others, their_labels = problem(seed=1)
    settings = HeadSettings(
        (0.0, 0.4, 4.0), (0.1, 1.0), epochs=3, batch_size=8, pairing=pairing, variant=variant
    )
    for seed in (0, 5):
        heads = train_heads(features, labels, CLASSES, settings, seed)
        assert heads.shape == (3, 2, features.shape[1] + 1, CLASSES)
        hits = correct_predictions(heads, others, their_labels)
        for i, lambda_ in enumerate(settings.lambdas):
            for j, rate in enumerate(settings.rates):
                naive = naive_head(features, labels, settings, lambda_, rate, seed)
                torch.testing.assert_close(heads[i, j, :-1].T, naive.weight, atol=1e-4, rtol=1e-4)
                torch.testing.assert_close(heads[i, j, -1], naive.bias, atol=1e-4, rtol=1e-4)
                right = naive(others).argmax(1) == their_labels
                assert torch.equal(hits[i, j], right)


def test_lambda_zero_is_plain_cross_entropy_whatever_else_is_trained() -> None:
    features, labels = problem()
    alone = HeadSettings((0.0,), SETTINGS.rates, epochs=3, batch_size=8, variant="jeffreys")
    # This λ overflows: heads beside one that diverges are none the worse for it.
    beside = HeadSettings((0.0, 1e38), SETTINGS.rates, epochs=3, batch_size=8, variant="jeffreys")
    expected = train_heads(features, labels, CLASSES, alone, seed=3)
    trained = train_heads(features, labels, CLASSES, beside, seed=3)
    assert not trained[1].isfinite().all()
    torch.testing.assert_close(trained[0], expected[0])
    weight = torch.zeros(features.shape[1] + 1, CLASSES)
    inputs = torch.cat([features, torch.ones(len(features), 1)], 1)
    generator = torch.Generator().manual_seed(3)
    batches = [b for _ in range(3) for b in epoch_batches(37, 8, "split_batch", generator)]
    momentum = torch.zeros_like(weight)
    for step, batch in enumerate(batches):  # by hand: the gradient is Xᵀ(p − y)/B
        p = (inputs[batch] @ weight).softmax(1)
        error = p - F.one_hot(labels[batch], CLASSES)
        momentum = 0.9 * momentum + inputs[batch].T @ error / len(batch)
        weight = weight - (1 - step / len(batches)) * momentum
    torch.testing.assert_close(trained[0, 1], weight, atol=1e-5, rtol=1e-4)


def test_a_penalty_changes_heads_and_so_does_the_seed() -> None:
    features, labels = problem()
    heads = train_heads(features, labels, CLASSES, SETTINGS, seed=0)
    assert not torch.allclose(heads[0], heads[1], atol=1e-3)
    other = train_heads(features, labels, CLASSES, SETTINGS, seed=1)
    assert not torch.allclose(heads, other, atol=1e-3)
    before = torch.random.get_rng_state()
    again = train_heads(features, labels, CLASSES, SETTINGS, seed=0)
    assert torch.equal(again, heads)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_heads_that_diverged_name_nothing() -> None:
    heads = torch.zeros(1, 2, 3, CLASSES)
    heads[0, 0, 0, 0] = torch.nan
    hits = correct_predictions(heads, torch.ones(5, 2), torch.zeros(5, dtype=torch.int64))
    assert hits[0, 0].sum() == 0
    assert hits[0, 1].sum() == 5  # equal logits: the first class


def test_rotated_features_keep_what_heads_predict() -> None:
    features, labels = problem(images=20, dimensions=50)
    shorter = rotated(features)
    assert shorter.shape == (20, 20)
    torch.testing.assert_close(shorter @ shorter.T, features @ features.T, atol=1e-4, rtol=1e-4)
    fit, val = torch.arange(15), torch.arange(15, 20)
    logits = []
    for values in (features, shorter):
        inputs = scaled(values, fit)
        heads = train_heads(inputs[fit], labels[fit], CLASSES, SETTINGS, seed=0)
        logits.append(inputs[val] @ heads[2, 1, :-1] + heads[2, 1, -1])
    torch.testing.assert_close(*logits, atol=1e-3, rtol=1e-3)
    few = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    assert rotated(few) is few


def test_scaling_looks_at_the_images_trained_on_only() -> None:
    values = torch.tensor([[1.0, 0.0], [3.0, 4.0], [100.0, 7.0]])
    fit = torch.tensor([0, 1])
    # mean (2, 2); distances² (1 + 4) and (1 + 4): the length is √5
    expected = torch.tensor([[-1.0, -2.0], [1.0, 2.0], [98.0, 5.0]]) / 5**0.5
    torch.testing.assert_close(scaled(values, fit), expected)
    equal = scaled(torch.ones(3, 2), fit)
    assert equal.isfinite().all()


# Features are what the network's own last layer gets.


def batches_of(size: int, images: int = 5) -> EvalBatches:
    pixels = np.random.default_rng(0).integers(0, 256, (images, size, size, 3), dtype=np.uint8)
    labels = np.arange(images) % CLASSES
    return EvalBatches(pixels, labels, None, Preprocessing(crop=size), batch_size=2, device="cpu")


@pytest.mark.parametrize(
    ("name", "size", "layer", "dimensions"),
    [
        ("compact_cnn", 32, "head", 64),
        ("resnet18", 32, "fc", 512),
        ("mobilenet_v2", 32, "classifier.1", 1280),
        ("googlenet", 32, "fc", 1024),
        ("densenet121", 32, "classifier", 1024),
        ("vgg11", 32, "classifier.6", 4096),
    ],
)
def test_features_make_the_logits_of_a_plain_pass(
    name: str, size: int, layer: str, dimensions: int
) -> None:
    options = {"aux": True} if name == "googlenet" else {}
    backbone = build_backbone(name, CLASSES, options=options)
    told: list[tuple[int, int]] = []
    features = extract_features(
        backbone, batches_of(size), progress=lambda *numbers: told.append(numbers)
    )
    assert (features.layer, features.layer_type, features.pooled) == (layer, "Linear", False)
    assert features.values.shape == (5, dimensions)
    assert told == [(2, 5), (4, 5), (5, 5)]
    head = backbone.module.get_submodule(layer)
    backbone.module.eval()
    with torch.no_grad():
        for index, (images, _) in enumerate(batches_of(size)):
            rows = features.values[2 * index : 2 * index + len(images)]
            torch.testing.assert_close(head(rows), backbone.module(images), atol=1e-4, rtol=1e-4)
    assert not head._forward_pre_hooks


def test_bilinear_features_are_the_products() -> None:
    options = {"features": "compact_cnn", "channels": 8}
    backbone = build_backbone("bilinear_cnn", CLASSES, options=options)
    features = extract_features(backbone, batches_of(32))
    assert (features.layer, features.values.shape) == ("head", (5, 64))
    torch.testing.assert_close(features.values.norm(dim=1), torch.ones(5))


def test_maps_are_averaged_over_positions_and_that_is_told() -> None:
    backbone = build_backbone("squeezenet1_1", CLASSES)
    features = extract_features(backbone, batches_of(64))
    assert (features.layer, features.layer_type) == ("classifier.1", "Conv2d")
    assert features.pooled
    backbone.module.eval()
    with torch.no_grad():
        images = torch.cat([images for images, _ in batches_of(64)])
        maps = backbone.module.features(images)  # type: ignore[operator]
    torch.testing.assert_close(features.values, maps.mean((2, 3)), atol=1e-4, rtol=1e-4)


class Odd(nn.Module):
    """A network whose head gets something else than a vector an image."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.head = nn.Linear(3, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        vectors = images.mean((2, 3))
        if self.kind == "tokens":
            logits: Tensor = self.head(vectors[:, None].repeat(1, 7, 1)).mean(1)
        elif self.kind == "twice":
            logits = self.head(vectors) + self.head(vectors.flip(0))
        elif self.kind == "broken":
            logits = self.head(vectors / 0)
        else:
            logits = vectors @ self.head.weight.T
        return logits


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("tokens", r"shape \[2, 7, 3\] for 2 images"),
        ("twice", "calls it 2 times"),
        ("unused", "calls it 0 times"),
        ("broken", "not finite"),
    ],
)
def test_networks_without_such_features_are_refused(kind: str, message: str) -> None:
    module = Odd(kind)
    backbone = Backbone(module, LoadReport("none"), ("head.weight", "head.bias"))
    with pytest.raises(UserError, match=message):
        extract_features(backbone, batches_of(8))
    assert not module.head._forward_pre_hooks


def test_features_that_do_not_fit_are_refused_before_memory_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pcsearch.training.frozen_features.FEATURE_BYTES_LIMIT", 4 * 5 * 64 - 1)
    with pytest.raises(UserError, match="64 numbers an image"):
        extract_features(build_backbone("compact_cnn", CLASSES), batches_of(32))


@pytest.mark.parametrize("lambda_", [-1.0, float("nan")])
def test_a_lambda_that_is_none_is_refused(lambda_: float) -> None:
    with pytest.raises(UserError, match="lambda_ is"):
        HeadSettings((lambda_,), (1.0,), epochs=1)
