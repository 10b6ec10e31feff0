from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pcsearch
from pcsearch.code_consent import VARIABLE
from pcsearch.errors import UserError
from pcsearch.execution.preflight.datasets import open_datasets, prepare_datasets, split_of
from pcsearch.execution.preflight.lambda_probe import EPOCHS, FRACTIONS, RATES
from pcsearch.models import build_backbone
from pcsearch.recipe.load import load_recipe
from pcsearch.search.plan import derive_seed
from pcsearch.training.frozen_features import HeadSettings, train_heads

SMALL: dict[str, Any] = {
    "name": "small",
    "datasets": ["fieldguide"],
    "backbones": ["compact_cnn"],
    "weights": "none",
    "data": {"fieldguide": {"species": 3, "images_per_species": 20}},
    "image": {"resize": 40, "crop": 32},
    "asha": {"max_epochs": 1},
    "train": {"batch_size": 16, "variant": "norm"},
}


def test_the_default_values_are_zero_and_twelve_evenly_spaced_in_the_logarithm() -> None:
    assert FRACTIONS[0] == 0
    assert (FRACTIONS[1], FRACTIONS[-1], len(FRACTIONS)) == (0.005, 0.5, 13)
    steps = np.diff(np.log(FRACTIONS[1:]))
    np.testing.assert_allclose(steps, math.log(100) / 11, atol=0.01)


def test_accuracies_are_those_of_heads_trained_one_by_one() -> None:
    """From images to the first two accuracies without any of the probe's own steps."""
    recipe = load_recipe(SMALL)
    (curve,) = pcsearch.probe(recipe, lambda_over_n=[0.5], repeats=2)
    assert [point.lambda_over_n for point in curve.points] == [0, 0.5]
    assert [point.lambda_ for point in curve.points] == [0, 1.5]
    assert (curve.study, curve.variant, curve.batch_size) == ("fieldguide/compact_cnn", "norm", 16)

    cache = Path(pcsearch.data.cache.default_cache_folder())
    (prepared,) = prepare_datasets(
        recipe, open_datasets(recipe), cache, lambda *_: None, needs_test=False
    )
    training = prepared.training
    seed = derive_seed(0, "probe", curve.study)
    module = build_backbone("compact_cnn", 3, seed=seed).module.eval()
    pixels = np.asarray(training.store.images)[:, 4:36, 4:36].astype(np.float32) / 255
    mean, std = np.array(recipe.image.mean), np.array(recipe.image.std)
    images = torch.from_numpy((pixels - mean) / std).float().permute(0, 3, 1, 2)
    with torch.no_grad():
        features = module.stages(module.stem(images)).mean((2, 3))  # type: ignore[operator]
    labels = torch.from_numpy(training.labels)
    scores = np.zeros((2, 2, len(RATES)))
    for repeat in range(2):
        split = split_of(recipe, training, repeat)
        fit, val = torch.from_numpy(split.fit), torch.from_numpy(split.val)
        centred = features - features[fit].mean(0)
        inputs = centred / centred[fit].square().sum(1).mean().sqrt()
        for i, lambda_ in enumerate((0.0, 1.5)):
            for j, rate in enumerate(RATES):
                settings = HeadSettings((lambda_,), (rate,), EPOCHS, 16, variant="norm")
                seed = derive_seed(0, "probe", curve.study, repeat)
                (head,) = train_heads(inputs[fit], labels[fit], 3, settings, seed)[0]
                logits = inputs[val] @ head[:-1] + head[-1]
                scores[repeat, i, j] = 100 * (logits.argmax(1) == labels[val]).double().mean()
    for i in range(2):  # of two repeats, each takes the rate that is best in the other
        rates = scores[1, i].argmax(), scores[0, i].argmax()
        expected = (scores[0, i, rates[0]] + scores[1, i, rates[1]]) / 2
        assert curve.points[i].value == pytest.approx(expected)


def test_two_calls_agree_and_leave_the_global_generator_alone() -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first, second = (
        pcsearch.probe(SMALL, lambda_over_n=[0.1], repeats=2)[0].points for _ in range(2)
    )
    assert first == second
    assert torch.equal(torch.random.get_rng_state(), before)


def test_progress_and_a_curve_a_study() -> None:
    told: list[tuple[str, int, int]] = []
    curves = pcsearch.probe(
        SMALL,
        ["backbones=[compact_cnn, squeezenet1_1]", "weights=none"],
        lambda_over_n=[0.1],
        repeats=2,
        progress=lambda *what: told.append(what),
    )
    assert [curve.study for curve in curves] == [
        "fieldguide/compact_cnn",
        "fieldguide/squeezenet1_1",
    ]
    assert curves[1].features.pooled
    assert ("fieldguide/compact_cnn features", 36, 36) in told
    assert ("fieldguide/squeezenet1_1 heads", 2, 2) in told


def test_random_features_are_told() -> None:
    (curve,) = pcsearch.probe(SMALL, lambda_over_n=[], repeats=2)
    assert any("its features are random" in note for note in curve.notes)


def test_weights_take_the_note_away_and_missing_ones_are_told(tmp_path: Path) -> None:
    state = build_backbone("compact_cnn", 3, seed=5).module.state_dict()
    torch.save(state, tmp_path / "whole.pth")
    (curve,) = pcsearch.probe(
        SMALL, [f"weights={tmp_path / 'whole.pth'}"], lambda_over_n=[], repeats=2
    )
    assert curve.notes == (
        "There are only 6 validation images: one is 16.7 points, so the curve means "
        "almost nothing.",
    )
    assert curve.features.weights == str(tmp_path / "whole.pth")


class OwnNetwork(nn.Module):
    """Mean colours, or the colours of five pixels, before a linear layer."""

    def __init__(self, num_classes: int, pixels: bool) -> None:
        super().__init__()
        self.pixels = pixels
        self.head = nn.Linear(3, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        colours = images.flatten(2).transpose(1, 2)
        logits: Tensor = self.head(colours[:, :5] if self.pixels else colours.mean(1))
        return logits.mean(1) if self.pixels else logits


def own_network(num_classes: int, pixels: bool = False) -> nn.Module:
    return OwnNetwork(num_classes, pixels)


def test_a_network_of_ones_own_works_or_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    reference = f"{__name__}:own_network"
    recipe = SMALL | {"backbones": [reference]}
    monkeypatch.setenv(VARIABLE, "")
    with pytest.raises(UserError, match="add --allow-code tests"):
        pcsearch.probe(recipe, lambda_over_n=[], repeats=2)
    (curve,) = pcsearch.probe(recipe, lambda_over_n=[], repeats=2, allow_code=["tests"])
    assert (curve.features.layer, curve.features.dimensions) == ("head", 3)
    assert any("unless its function loads some" in note for note in curve.notes)
    odd = recipe | {"backbone_options": {reference: {"pixels": True}}}
    with pytest.raises(UserError, match=r"must be \[B, D\] or \[B, C, h, w\]"):
        pcsearch.probe(odd, lambda_over_n=[], repeats=2)


def test_a_given_validation_part_is_kept_and_told(tmp_path: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for part, images in (("train", 8), ("val", 6)):
        for name in ("a", "b"):
            (tmp_path / part / name).mkdir(parents=True)
            for index in range(images):
                pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / part / name / f"{index}.png")
    (curve,) = pcsearch.probe(
        SMALL | {"datasets": ["images"], "data": {}},
        images=tmp_path,
        lambda_over_n=[0.1],
        repeats=3,
    )
    assert curve.given_split
    assert (curve.fit_images, curve.val_images) == (12, 12)  # of train/, a test part is held out
    assert any("validation images are given" in note for note in curve.notes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lambda_over_n": [-0.1]}, "λ/N is -0.1"),
        ({"lambda_over_n": [float("inf")]}, "λ/N is inf"),
        ({"repeats": 1}, "repeats is 1"),
    ],
)
def test_impossible_arguments(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        pcsearch.probe(SMALL, **changes)
