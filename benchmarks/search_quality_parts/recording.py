"""Recording learning curves: every learning rate with every λ, several seeds, trained for real.

A training of a world is one of three kinds: `search` (split 0), `finalists` (another split) and
`confirm` (all training images). Validation accuracy is measured after every epoch, and the test
images at the end, image by image. The order is by seed, so that whatever was recorded when the
script is stopped is a whole grid for fewer seeds.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pcsearch.data.cache import default_cache_folder
from pcsearch.data.loaders import EvalBatches, TrainBatches
from pcsearch.errors import TrialError
from pcsearch.execution.preflight.datasets import (
    PreparedDataset,
    open_datasets,
    prepare_datasets,
    preprocessing_for,
    split_of,
)
from pcsearch.models.registry import build_backbone
from pcsearch.recipe.load import load_recipe
from pcsearch.search.plan import derive_seed
from pcsearch.training.config import TrainConfig
from pcsearch.training.evaluate import evaluate
from pcsearch.training.trainer import fit

LOOK_ALIKES = "[9, 11, 26, 27, 29, 30, 37, 39, 40, 43]"
BATCH = 32


@dataclass(frozen=True)
class World:
    """What is recorded: a recipe, the grid, and how many trainings of each kind a point has."""

    name: str
    recipe: str
    overrides: tuple[str, ...]
    epochs: int
    rates: tuple[float, ...]
    fractions: tuple[float, ...]
    search: int
    finalists: int
    confirm: int
    lr_floor: float = 0.0

    def points(self) -> Iterator[tuple[str, int, float, float]]:
        """Kind, number, learning rate and λ/N of every training, a whole grid after the other."""
        counts = {"search": self.search, "finalists": self.finalists, "confirm": self.confirm}
        for number in range(max(counts.values())):
            kinds = [kind for kind, count in counts.items() if number < count]
            for kind, rate, fraction in itertools.product(kinds, self.rates, self.fractions):
                yield kind, number, rate, fraction


def birds(data: Path) -> tuple[str, ...]:
    return (f"data.root={data / 'data'}", f"data.classes={LOOK_ALIKES}", "train.clip_norm=null")


def worlds(shared: Path) -> dict[str, World]:
    """The worlds by name; `shared` holds `data/` and `weights/`."""
    weights = shared / "weights"
    fractions = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5)
    found = (
        World(
            "fieldguide", "quickstart", ("datasets=[fieldguide]",), 9,
            (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64), fractions, 4, 4, 4,
        ),
        World(
            "birds-squeezenet", "cub200-small",
            (*birds(shared), f"weights={weights / 'squeezenet1_1-imagenet-features-fp16.pth'}"),
            12, (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032), fractions, 2, 3, 3,
        ),
        World(
            "birds-mobilenet", "cub200-small",
            (
                *birds(shared), "backbones=[mobilenet_v2]", "image.resize=80", "image.crop=64",
                f"weights={weights / 'mobilenet_v2-imagenet-fp16.pth'}",
            ),
            9, (0.002, 0.006, 0.02, 0.06, 0.2), (0.0, 0.02, 0.1, 0.2, 0.5), 2, 2, 2,
        ),
    )  # fmt: skip
    return {world.name: world for world in found}


def record(
    world: World,
    file: Path,
    shard: int,
    shards: int,
    known: Collection[tuple[str, int, float, float]] = (),
) -> None:
    """Train every `shards`-th point from `shard` on; append a JSON line each to `file`.

    What is `known`, or in the file already, is not trained again.
    """
    recipe = load_recipe(world.recipe, world.overrides)
    (prepared,) = prepare_datasets(
        recipe, open_datasets(recipe), default_cache_folder(), lambda *_: None
    )
    torch.set_num_threads(1)
    known = set(known)
    if file.exists():
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        known |= {(row["kind"], row["number"], row["lr"], row["lambda_over_n"]) for row in rows}
    for index, point in enumerate(world.points()):
        if index % shards == shard and point not in known:
            row = _trained(world, recipe, prepared, *point)
            with file.open("a") as out:
                out.write(json.dumps(row) + "\n")


def _trained(
    world: World,
    recipe: Any,
    prepared: PreparedDataset,
    kind: str,
    number: int,
    lr: float,
    fraction: float,
) -> dict[str, Any]:
    (dataset,), (backbone_name,) = recipe.datasets, recipe.backbones
    training, test = prepared.training, prepared.test
    classes = prepared.facts.num_classes
    settings = TrainConfig(
        **recipe.train_for(backbone_name)
        | {
            "epochs": world.epochs,
            "seed": derive_seed(world.name, kind, number),
            "lr": lr,
            "lambda_": fraction * classes,
        }
    )
    repeat = number + 1 if kind == "finalists" else 0
    split = None if kind == "confirm" else split_of(recipe, training, repeat)
    backbone = build_backbone(
        backbone_name,
        classes,
        weights=recipe.weights_for(backbone_name),
        options=recipe.options_for(backbone_name),
        seed=settings.seed,
    )
    transform = preprocessing_for(recipe, dataset)
    batches = TrainBatches(
        training.store.images,
        training.labels,
        np.arange(len(training.labels)) if split is None else split.fit,
        transform,
        batch_size=settings.batch_size,
        pairing=settings.pairing,
        seed=settings.seed,
        device="cpu",
        channels_last=settings.channels_last,
    )
    shape = {"batch_size": BATCH, "device": "cpu", "channels_last": settings.channels_last}
    validation = None
    if split is not None:
        validation = EvalBatches(
            training.store.images, training.labels, split.val, transform, **shape
        )
    measured = EvalBatches(test.store.images, test.labels, None, transform, **shape)
    values: list[float | None] = []
    losses: list[float] = []
    hits = b""
    with suppress(TrialError):
        for epoch in fit(
            backbone,
            batches,
            settings,
            device="cpu",
            evaluate=None
            if validation is None
            else lambda module: evaluate(module, validation, classes, "cpu"),
        ):
            values.append(None if epoch.validation is None else epoch.validation["top1"])
            losses.append(epoch.train_loss)
        hits = _hits(backbone.module, measured)
    return {
        "kind": kind,
        "number": number,
        "lr": lr,
        "lambda_over_n": fraction,
        "values": values,
        "losses": losses,
        "hits": hits.hex(),
        "test_images": len(test.labels),
    }


@torch.no_grad()
def _hits(module: torch.nn.Module, batches: EvalBatches) -> bytes:
    """Which test images are named right, a bit each, the first image's the highest of its byte."""
    module.eval()
    right = [(module(images).argmax(dim=1) == labels).numpy() for images, labels in batches]
    return np.packbits(np.concatenate(right)).tobytes()


def keep_low_priority() -> None:
    """So that a recording in the background leaves the machine to whoever works on it."""
    with suppress(OSError):
        os.nice(10)
