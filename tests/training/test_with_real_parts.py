"""The loop with the package's own backbones and batches, on scanned digits."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from pcsearch.data.loaders import EvalBatches, TrainBatches
from pcsearch.data.preprocessing import Preprocessing
from pcsearch.models import Backbone, build_backbone
from pcsearch.recipe import load_recipe
from pcsearch.training.checkpoints import Checkpoints
from pcsearch.training.class_weights import with_class_weights
from pcsearch.training.config import TrainConfig
from pcsearch.training.evaluate import Evaluation, evaluate
from pcsearch.training.trainer import fit

PREPROCESSING = Preprocessing(crop=32, flip=False, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [n, 40, 40, 3] and labels [n]."""
    data = load_digits()
    gray = (data.images * 15.9).astype(np.uint8).repeat(5, axis=1).repeat(5, axis=2)
    return np.repeat(gray[..., None], 3, axis=3), data.target.astype(np.int64)


MODERN = replace(
    PREPROCESSING, augment={"random_resized_crop": (0.3,), "rand_augment": (2, 9)}, flip=True
)
TRIVIAL = replace(PREPROCESSING, augment={"trivial_augment": (True,)})


def training(
    digits: tuple[np.ndarray, np.ndarray],
    images: int,
    chosen: TrainConfig,
    preprocessing: Preprocessing = PREPROCESSING,
) -> TrainBatches:
    return TrainBatches(
        *digits,
        np.arange(images),
        preprocessing,
        batch_size=chosen.batch_size,
        pairing=chosen.pairing,
        sampling=chosen.sampling,
        seed=chosen.seed,
        device="cpu",
        channels_last=chosen.channels_last,
    )


def measured(backbone: Backbone, digits: tuple[np.ndarray, np.ndarray]) -> Evaluation:
    rows = np.arange(1000, 1400)
    batches = EvalBatches(*digits, rows, PREPROCESSING, batch_size=200, device="cpu")
    return evaluate(backbone.module, batches, 10, "cpu")


@pytest.mark.parametrize(("lambda_", "channels_last"), [(0.0, False), (1.0, True)])
def test_learns_digits(
    digits: tuple[np.ndarray, np.ndarray], lambda_: float, channels_last: bool
) -> None:
    chosen = TrainConfig(epochs=4, seed=0, lr=0.1, lambda_=lambda_, channels_last=channels_last)
    backbone = build_backbone("compact_cnn", 10)
    (*_, last) = fit(backbone, training(digits, 800, chosen), chosen, device="cpu", evaluate=None)
    assert last.images == 800
    assert measured(backbone, digits)["top1"] > 90


@pytest.mark.parametrize(
    ("preprocessing", "values"),
    [
        (PREPROCESSING, {"pairing": "split_batch"}),
        (PREPROCESSING, {"pairing": "two_shuffles"}),
        (MODERN, {"pairing": "between_classes", "sampling": "balanced"}),
        (TRIVIAL, {"pairing": "two_shuffles", "sampling": "balanced"}),
        (MODERN, {"class_weights": {"3": 5.0}}),
    ],
)
def test_resumes_bit_for_bit(
    digits: tuple[np.ndarray, np.ndarray],
    preprocessing: Preprocessing,
    values: dict[str, Any],
    tmp_path: Path,
) -> None:
    stated = TrainConfig(epochs=3, seed=2, lr=0.05, lambda_=1.0, batch_size=16, **values)
    chosen = with_class_weights(stated, digits[1][:90], "0123456789")
    ends = []
    for stop, path in ((3, None), (2, tmp_path / "c"), (3, tmp_path / "c")):
        backbone = build_backbone("compact_cnn", 10, options={"width": 4})
        batches = training(digits, 90, chosen, preprocessing)
        checkpoints = None if path is None else Checkpoints(path, every_seconds=0.0)
        run = fit(backbone, batches, chosen, device="cpu", evaluate=None, checkpoints=checkpoints)
        records = list(islice(run, stop))
        ends.append((backbone.module.state_dict(), [record.train_loss for record in records]))
    (whole, losses), _, (resumed, again) = ends
    assert losses == again
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_bilinear_classifier_first(digits: tuple[np.ndarray, np.ndarray]) -> None:
    backbone = build_backbone(
        "bilinear_cnn", 10, options={"features": "compact_cnn", "channels": 8}
    )
    head = set(backbone.head_names)
    before = {name: value.clone() for name, value in backbone.module.state_dict().items()}
    chosen = TrainConfig(epochs=2, seed=0, lr=0.01, head_only_epochs=1, head_only_lr=0.5)
    run = fit(backbone, training(digits, 64, chosen), chosen, device="cpu", evaluate=None)
    changes = []
    for _ in run:
        now = backbone.module.state_dict()
        changes.append({name for name in now if not torch.equal(now[name], before[name])})
    alone, together = changes
    assert alone <= head
    assert "head.weight" in alone
    assert together > alone
    assert any("running_mean" in name for name in together)


def test_bilinear_with_a_torchvision_trunk() -> None:
    """Random images of 64 pixels: the body moves in the second stage, and not before."""
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (16, 72, 72, 3), dtype=np.uint8)
    labels = np.arange(16, dtype=np.int64) % 4
    preprocessing = Preprocessing(crop=64, flip=True, mean=(0.5,) * 3, std=(0.25,) * 3)
    chosen = TrainConfig(epochs=3, seed=0, lr=0.01, batch_size=8, lambda_=0.2, head_only_epochs=1)
    batches = TrainBatches(
        images,
        labels,
        np.arange(16),
        preprocessing,
        batch_size=8,
        pairing=chosen.pairing,
        seed=0,
        device="cpu",
    )
    test = EvalBatches(images, labels, None, preprocessing, batch_size=16, device="cpu")
    options = {"features": "squeezenet1_1", "channels": 64}
    backbone = build_backbone("bilinear_cnn", 4, options=options)

    def body() -> list[torch.Tensor]:
        return [p.detach().clone() for p in backbone.body_parameters()]

    def head() -> list[torch.Tensor]:
        return [p.detach().clone() for p in backbone.head_parameters()]

    bodies, heads = [body()], [head()]
    for record in fit(
        backbone,
        batches,
        chosen,
        device="cpu",
        evaluate=lambda module: evaluate(module, test, 4, "cpu"),
    ):
        assert np.isfinite(record.train_loss)
        bodies.append(body())
        heads.append(head())
    assert _same(bodies[0], bodies[1])
    assert not _same(heads[0], heads[1])
    for before, after in ((1, 2), (2, 3)):
        assert not any(
            torch.equal(*pair) for pair in zip(bodies[before], bodies[after], strict=True)
        )
        assert not _same(heads[before], heads[after])


def _same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(*pair) for pair in zip(one, other, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"), [("cub200-convnext", {}), ("cub200-vit", {"image_size": 32})]
)
def test_recipes_for_networks_of_today_train(
    digits: tuple[np.ndarray, np.ndarray], name: str, options: dict[str, object]
) -> None:
    """With their own settings, at 32 pixels and without weights: two epochs of eight images."""
    recipe = load_recipe(name)
    (network,) = recipe.backbones
    own = recipe.train_for(network) | {"batch_size": 4, "warmup_epochs": 0.0, "lr": 0.0001}
    chosen = TrainConfig(epochs=2, seed=0, lambda_=1.0, **own)
    backbone = build_backbone(network, 10, options=options)
    before = {key: value.clone() for key, value in backbone.module.state_dict().items()}
    records = list(fit(backbone, training(digits, 8, chosen), chosen, device="cpu", evaluate=None))
    assert all(np.isfinite(record.train_loss) for record in records)
    after = backbone.module.state_dict()
    assert all(torch.isfinite(value).all() for value in after.values())
    assert not all(torch.equal(before[key], after[key]) for key in backbone.head_names)
