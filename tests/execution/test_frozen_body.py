"""`train.freeze: body`: cached features train the head that the whole network would train."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pcsearch.data.loaders import EvalBatches, TrainBatches
from pcsearch.data.prepared import TrainingImages
from pcsearch.execution.frozen_body import FrozenStudy
from pcsearch.execution.preflight.datasets import (
    PreparedDataset,
    open_datasets,
    prepare_datasets,
    preprocessing_for,
    split_of,
)
from pcsearch.execution.trial_run import WorkerContext, fit_batches, run_trial, train_config
from pcsearch.execution.worker_data import publish_labels
from pcsearch.models import Backbone, build_backbone
from pcsearch.recipe import Recipe, load_recipe
from pcsearch.search.plan import build_plan
from pcsearch.search.trial import TrialSpec
from pcsearch.training.checkpoints import Checkpoints
from pcsearch.training.config import TrainConfig
from pcsearch.training.evaluate import evaluate
from pcsearch.training.metrics import EpochRecord
from pcsearch.training.trainer import fit

EPOCHS = 3
CPU = torch.device("cpu")
CLASSES = 3


def recipe_of(folder: Path, name: str, **train: Any) -> Recipe:
    """Three drawn birds, in crops of the whole image: so a crop is always the centre."""
    weights = folder / f"{name}.pth"
    torch.save(build_backbone(name, 7, seed=5).module.state_dict(), weights)
    return load_recipe(
        {
            "datasets": ["fieldguide"],
            "backbones": [name],
            "weights": str(weights),
            "data": {"fieldguide": {"species": 3, "images_per_species": 24, "size": 40}},
            "image": {"resize": 40, "crop": 40},
            "search": {"trials": 1, "lr": 0.1},
            "asha": {"max_epochs": EPOCHS, "grace_epochs": 2},
            "confirm": {"seeds": 1},
            "train": {"freeze": "body", "batch_size": 8, **train},
        }
    )


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def prepared(recipe: Recipe, cache: Path) -> PreparedDataset:
    (one,) = prepare_datasets(recipe, open_datasets(recipe), cache, lambda *_: None)
    return one


def settings_of(recipe: Recipe, **values: Any) -> TrainConfig:
    train = recipe.train_for(recipe.backbones[0]) | {"lr": 0.1} | values
    return TrainConfig(epochs=EPOCHS, seed=4, **train)


def network(recipe: Recipe) -> Backbone:
    (name,) = recipe.backbones
    return build_backbone(name, CLASSES, weights=recipe.weights_for(name), seed=4)


def frozen_study(recipe: Recipe, settings: TrainConfig, backbone: Backbone) -> FrozenStudy:
    return FrozenStudy(recipe, "fieldguide", recipe.backbones[0], backbone, settings, CPU, 32)


def cached_run(
    recipe: Recipe, data: TrainingImages, settings: TrainConfig, checkpoints: Path | None = None
) -> Iterator[tuple[EpochRecord, Backbone]]:
    backbone = network(recipe)
    study = frozen_study(recipe, settings, backbone)
    split = split_of(recipe, data, 0)
    validation = study.eval_batches(data, split.val)
    for record in fit(
        study.head,
        fit_batches(recipe, "fieldguide", data, split.fit, settings, CPU, study),
        settings,
        device=CPU,
        evaluate=lambda module: evaluate(module, validation, CLASSES, CPU),
        checkpoints=None if checkpoints is None else Checkpoints(checkpoints, every_seconds=0.0),
    ):
        yield record, backbone


class Whole(nn.Module):
    """The whole network; in training, only the dropout before its last layer is random."""

    def __init__(self, network: nn.Module, random: list[nn.Module]) -> None:
        super().__init__()
        self.network = network
        self.random = random

    def train(self, mode: bool = True) -> Whole:
        self.training = mode
        self.network.eval()
        for layer in self.random:
            layer.train(mode)
        return self

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits


def whole_run(recipe: Recipe, data: TrainingImages, settings: TrainConfig) -> list[Any]:
    """The same training with every image through the whole network, without the cache."""
    backbone = network(recipe)
    classifier = getattr(backbone.module, "classifier", ())
    random = [layer for layer in classifier if isinstance(layer, nn.Dropout)]
    names = tuple(f"network.{name}" for name in backbone.head_names)
    whole = replace(backbone, module=Whole(backbone.module, random), head_names=names)
    split, preprocessing = split_of(recipe, data, 0), preprocessing_for(recipe, "fieldguide")
    arrays: tuple[Any, Any] = data.store.images, data.labels
    shared: dict[str, Any] = {"device": "cpu", "channels_last": settings.channels_last}
    batches = TrainBatches(
        *arrays,
        split.fit,
        preprocessing,
        batch_size=settings.batch_size,
        pairing=settings.pairing,
        seed=settings.seed,
        **shared,
    )
    validation = EvalBatches(*arrays, split.val, preprocessing, batch_size=32, **shared)
    records = fit(
        whole,
        batches,
        settings,
        device="cpu",
        evaluate=lambda module: evaluate(module, validation, CLASSES, "cpu"),
    )
    return [list(records), backbone]


@pytest.mark.parametrize(
    ("name", "train"),
    [
        ("compact_cnn", {"lambda_": 0.5, "warmup_epochs": 1, "schedule": "cosine"}),
        ("compact_cnn", {"sam_rho": 0.05, "ema_decay": 0.9, "label_smoothing": 0.1}),
        ("compact_cnn", {"head_lr_multiplier": 3.0, "optimizer": "adamw", "logit_norm": 0.5}),
        ("mobilenet_v2", {"lambda_": 0.5, "pairing": "two_shuffles"}),  # dropout before the head
        ("squeezenet1_1", {"focal_gamma": 2.0}),  # dropout, a head on maps, and layers after it
        ("squeezenet1_1", {"channels_last": False, "accumulation_steps": 2}),
    ],
)
def test_the_curve_is_that_of_the_whole_network(
    name: str, train: dict[str, Any], tmp_path: Path, cache: Path
) -> None:
    recipe = recipe_of(tmp_path, name, **{k: v for k, v in train.items() if k != "lambda_"})
    data = prepared(recipe, cache).training
    settings = settings_of(recipe, **train)
    found = list(cached_run(recipe, data, settings))
    wanted, other = whole_run(recipe, data, settings)
    for (record, _), expected in zip(found, wanted, strict=True):
        assert record.train_loss == pytest.approx(expected.train_loss, rel=1e-4)
        assert record.train_top1 == pytest.approx(expected.train_top1, abs=0.5)
        assert record.lr == expected.lr
        assert record.validation is not None
        assert record.validation["nll"] == pytest.approx(expected.validation["nll"], rel=1e-3)
    backbone = found[-1][1]
    trained, before = backbone.module.state_dict(), network(recipe).module.state_dict()
    for key, value in other.module.state_dict().items():
        torch.testing.assert_close(trained[key], value, rtol=1e-3, atol=1e-4)
        assert torch.equal(trained[key], before[key]) == (key not in backbone.head_names)


def test_resumes_bit_for_bit(tmp_path: Path, cache: Path) -> None:
    """With dropout in the head and a mean of the weights; a checkpoint holds the head alone."""
    recipe = recipe_of(tmp_path, "mobilenet_v2", ema_decay=0.9)
    data, settings = prepared(recipe, cache).training, settings_of(recipe, lambda_=0.5)
    whole = list(cached_run(recipe, data, settings))
    list(islice(cached_run(recipe, data, settings, tmp_path / "saved"), 2))
    resumed = list(cached_run(recipe, data, settings, tmp_path / "saved"))
    assert [one.replayed for one, _ in resumed] == [True, True, False]
    assert [one.train_loss for one, _ in resumed] == [one.train_loss for one, _ in whole]
    assert [one.validation for one, _ in resumed] == [one.validation for one, _ in whole]
    ends = [run[-1][1].module.state_dict() for run in (whole, resumed)]
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])
    assert all(path.stat().st_size < 200_000 for path in (tmp_path / "saved").iterdir())


def test_features_are_the_input_of_the_last_layer_for_each_image_and_its_mirror_image(
    tmp_path: Path, cache: Path
) -> None:
    recipe = recipe_of(tmp_path, "compact_cnn")
    data = prepared(recipe, cache).training
    backbone = network(recipe)
    found = frozen_study(recipe, settings_of(recipe), backbone).features(data)
    mean, std = np.array(recipe.image.mean), np.array(recipe.image.std)
    pixels = (np.asarray(data.store.images) / 255 - mean) / std
    module: Any = backbone.module.eval()
    for view, shown in enumerate((pixels, pixels[:, :, ::-1])):
        inputs = torch.from_numpy(shown.transpose(0, 3, 1, 2).copy()).float()
        with torch.no_grad():
            wanted = module.stages(module.stem(inputs)).mean((2, 3))
        np.testing.assert_allclose(found[view], wanted.numpy(), rtol=1e-4, atol=1e-5)


def test_features_are_computed_once_for_all_that_leaves_them_as_they_are(
    tmp_path: Path, cache: Path
) -> None:
    recipe = recipe_of(tmp_path, "compact_cnn")
    data, settings = prepared(recipe, cache).training, settings_of(recipe)
    computed: list[int] = []

    def compute(recipe: Recipe, settings: TrainConfig, backbone: Backbone) -> bool:
        computed.clear()
        study = frozen_study(recipe, settings, backbone)
        study.features(data, lambda done, total: computed.append(done))
        return bool(computed)

    assert compute(recipe, settings, network(recipe))
    assert computed[-1] == 2 * len(data.labels)
    same = replace(settings, lr=0.3, batch_size=16, seed=9, lambda_=1.0)
    assert not compute(recipe, same, network(recipe))
    assert not compute(
        recipe,
        settings,
        build_backbone("compact_cnn", 9, weights=recipe.weights_for("compact_cnn")),
    )

    moved = network(recipe)
    moved.module.stem[1].running_mean[0] += 0.01  # type: ignore
    assert compute(recipe, settings, moved)
    for change in (
        {"image": {**recipe.to_mapping()["image"], "crop": 32}},
        {"image": {**recipe.to_mapping()["image"], "std": [0.2, 0.2, 0.2]}},
        {"image": {**recipe.to_mapping()["image"], "flip": False}},
    ):
        assert compute(load_recipe({**recipe.to_mapping(), **change}), settings, network(recipe))
    assert compute(recipe, replace(settings, amp="cpu"), network(recipe))
    assert compute(recipe, replace(settings, channels_last=False), network(recipe))


def context_of(recipe: Recipe, folder: Path, cache: Path) -> WorkerContext:
    one = prepared(recipe, cache)
    for name in ("data", "checkpoints", "weights"):
        (folder / name).mkdir()
    publish_labels(one, folder / "data")
    plan = build_plan(recipe, [one.facts])
    return WorkerContext(
        recipe=recipe.dump_yaml(),
        cache=str(cache),
        data=str(folder / "data"),
        checkpoints=str(folder / "checkpoints"),
        weights=str(folder / "weights"),
        cpus=1,
        gpus=0,
        split_hashes={study.id: study.split_hash for study in plan.studies},
        import_path=str(folder),
    )


def trial(phase: Any, name: str = "compact_cnn") -> TrialSpec:
    config = {"seed": 3, "lambda": 0.3, "lr": 0.1, "split": None if phase == "confirm" else 0}
    study = f"fieldguide/{name}"
    name = f"{study}/pc/{phase}-000"
    return TrialSpec(
        name, study, "pc", phase, 0, EPOCHS, "euclidean", config, keep_weights=phase == "confirm"
    )


def test_test_images_are_opened_in_confirm_alone_and_the_whole_network_is_kept(
    tmp_path: Path, cache: Path
) -> None:
    recipe = recipe_of(tmp_path, "compact_cnn")
    context = context_of(recipe, tmp_path, cache)
    test = prepared(recipe, cache).test
    assert test is not None

    def of_test() -> list[Path]:
        return list(cache.glob(f"{test.store.path.stem}.*.features.npy"))

    reports = list(run_trial(trial("search"), context))
    assert all(report.test is None and report.value is not None for report in reports)
    assert of_test() == []
    *_, last = run_trial(trial("confirm"), context)
    assert len(of_test()) == 1
    (file,) = (tmp_path / "weights").iterdir()
    kept = build_backbone("compact_cnn", CLASSES, weights=str(file))
    assert kept.loading.missing == kept.loading.dropped == ()
    images = EvalBatches(
        test.store.images,
        test.labels,
        None,
        preprocessing_for(recipe, "fieldguide"),
        batch_size=32,
        device="cpu",
    )
    measured = evaluate(kept.module, images, CLASSES, "cpu")
    assert last.test is not None
    assert last.test["top1"] == measured["top1"]
    assert last.hits == measured.hits
    assert last.test["nll"] == pytest.approx(measured["nll"], rel=1e-4)
    assert last.test["knn_k"] in (1, 5, 20)
    assert last.test["knn"] == pytest.approx(nearest(recipe, cache, int(last.test["knn_k"])))


def nearest(recipe: Recipe, cache: Path, k: int) -> float:
    """Percent of the test images whose k nearest training images vote for the right class."""
    data = prepared(recipe, cache)
    assert data.test is not None
    study = frozen_study(recipe, settings_of(recipe), network(recipe))
    known, asked = (
        part / np.linalg.norm(part, axis=1, keepdims=True)
        for part in (study.features(data.training)[0], study.features(data.test)[0])
    )
    cosines = asked @ known.T
    order = np.argsort(-cosines, axis=1)[:, :k]
    votes, sums = (
        np.stack(
            [
                np.bincount(data.training.labels[row], weights=weight, minlength=CLASSES)
                for row, weight in zip(order, weights, strict=True)
            ]
        )
        for weights in (np.ones(order.shape), np.take_along_axis(cosines, order, axis=1))
    )
    answers = (votes + sums / 1000).argmax(axis=1)
    return float(100 * (answers == data.test.labels).mean())


def test_a_trial_in_smaller_batches_to_save_memory(tmp_path: Path, cache: Path) -> None:
    recipe = recipe_of(tmp_path, "compact_cnn")
    context = context_of(recipe, tmp_path, cache)
    whole = list(run_trial(trial("search"), context))
    parts = list(run_trial(trial("finalists"), context, micro_batches=4))
    for one, other in zip(whole, parts, strict=True):
        assert other.metrics["train_loss"] == pytest.approx(one.metrics["train_loss"], rel=1e-4)


def test_train_config_has_the_recipes_choice(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, "compact_cnn")
    assert train_config(recipe, "compact_cnn", trial("search")).freeze == "body"
