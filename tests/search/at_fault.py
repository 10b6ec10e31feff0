"""Networks that fail in training, on purpose, and trials of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakSet

import torch
from torch import Tensor, nn

from pcsearch.code_consent import allow
from pcsearch.execution.preflight.datasets import dataset_facts, open_datasets, prepare_datasets
from pcsearch.execution.trial_run import WorkerContext
from pcsearch.execution.worker_data import publish_labels
from pcsearch.models.compact_cnn import CompactCNN
from pcsearch.recipe.load import load_recipe
from pcsearch.search.plan import build_plan
from pcsearch.search.trial import TrialSpec

BATCH = 32
EPOCHS = 3


class Faulty(nn.Module):
    """Passes images on; in training, given more than `most` of them at a time, raises `error()`.

    Not before it has seen `after_batches`; notes the size of each batch, in training and apart.
    """

    error: ClassVar[Callable[[], Exception] | None] = None
    most: ClassVar[int] = 0
    after_batches: ClassVar[int] = 0
    seen: ClassVar[list[int]] = []
    measured: ClassVar[list[int]] = []
    alive: ClassVar[WeakSet[Faulty]] = WeakSet()

    @classmethod
    def mend(cls) -> None:
        """As it is at first."""
        cls.error, cls.most, cls.after_batches = None, 0, 0
        cls.seen, cls.measured = [], []

    def __init__(self) -> None:
        super().__init__()
        self.alive.add(self)

    def forward(self, images: Tensor) -> Tensor:
        (self.seen if self.training else self.measured).append(len(images))
        full = len(self.seen) > self.after_batches and len(images) > self.most
        if self.training and full and Faulty.error is not None:
            raise Faulty.error()
        return images


def network(num_classes: int) -> nn.Module:
    """A small network that is `Faulty`."""
    trunk = CompactCNN(num_classes, width=4)
    trunk.stem.insert(0, Faulty())
    return trunk


def no_memory() -> torch.OutOfMemoryError:
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nstatistics")


def make_workplace(folder: Path, **changes: Any) -> WorkerContext:
    """Digits, decoded and handed over, and an empty run folder."""
    allow(["tests"])
    recipe = load_recipe(
        {
            "datasets": ["digits"],
            "backbones": ["tests.search.at_fault:network"],
            "weights": "none",
            "data": {"classes": [1, 2]},
            "image": {"resize": 12, "crop": 8},
            "search": {"trials": 1, "lr": 0.05},
            "asha": {"max_epochs": EPOCHS},
            "confirm": {"seeds": 1},
            "train": {"batch_size": BATCH},
        }
    )
    cache = folder / "cache"
    (prepared,) = prepare_datasets(recipe, open_datasets(recipe), cache, lambda *_: None)
    for name in ("data", "checkpoints", "weights"):
        (folder / name).mkdir()
    publish_labels(prepared, folder / "data")
    plan = build_plan(recipe, dataset_facts(recipe, cache, lambda *_: None))
    values: dict[str, Any] = {
        "recipe": recipe.dump_yaml(),
        "cache": str(cache),
        "data": str(folder / "data"),
        "checkpoints": str(folder / "checkpoints"),
        "weights": str(folder / "weights"),
        "cpus": 1,
        "gpus": 0,
        "split_hashes": {study.id: study.split_hash for study in plan.studies},
        "import_path": str(folder),
    }
    return WorkerContext(**values | changes)


def spec_of(context: WorkerContext, index: int = 0, confirm: bool = False) -> TrialSpec:
    """A trial of the control."""
    (study,) = context.split_hashes
    phase = "confirm" if confirm else "search"
    config = {"seed": index, "lambda": 0.0, "lr": 0.05, "split": None if confirm else 0}
    name = f"{study}/control/{phase}-{index:03d}"
    return TrialSpec(name, study, "control", phase, index, EPOCHS, "euclidean", config)  # type: ignore[arg-type]


def given(spec: TrialSpec, **values: Any) -> dict[str, Any]:
    """What Ray Tune hands to a worker."""
    return {"spec": json.dumps(asdict(spec)), **values}
