"""A whole run folder, with the cache that its images are in and something beside it to spoil."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pcsearch.data.cache import ensure_store
from pcsearch.data.labels_file import save_test, save_training
from pcsearch.data.prepared import TestImages, TrainingImages
from pcsearch.models.registry import build_backbone
from pcsearch.recipe import load_recipe
from pcsearch.reporting.summary import summarise
from pcsearch.runs.folder import new_run
from pcsearch.search.journal.journal_file import Event
from pcsearch.search.state import replay
from pcsearch.search.trial import PREDICTIONS, checkpoint_folder, predictions_name
from pcsearch.training.checkpoints import Checkpoint, Identity, identity_of, save_checkpoint
from pcsearch.training.export import save_weights
from pcsearch.training.metrics import EpochRecord
from pcsearch.training.predictions_file import ImagePredictions, save_predictions
from tests.data.image_files import CountedImages
from tests.search.journals import all_kinds, write_events
from tests.training.helpers import settings

TRIAL = "digits/compact_cnn/pc/search-000"


@dataclass(frozen=True)
class Template:
    """`folder` holds runs/one, cache and canary; `identity` is that of its checkpoint."""

    folder: Path
    identity: Identity

    def copy_to(self, folder: Path) -> None:
        shutil.copytree(self.folder, folder, symlinks=True)


def make_template(folder: Path) -> Template:
    """A campaign that lost workers, was interrupted, gone on with, widened and completed."""
    runs, cache, canary = folder / "runs", folder / "cache", folder / "canary"
    recipe = load_recipe("quickstart", ["datasets=[digits]"])
    events = all_kinds()
    with new_run(runs, "one", recipe.dump_yaml(), {"command": ["pcsearch"], "cpus": 2}) as run:
        _predict(events, run.path / PREDICTIONS)
        write_events(run.journal, events)
        run.finish(summarise(replay(events)).to_json(), whole=False)
    store = ensure_store(CountedImages(folder / "log", 6), 8, folder=cache)
    labels = np.array([0, 0, 0, 1, 1, 1])
    save_training(
        run.data / "digits.train.npz", TrainingImages(store, labels, None, None, ("a", "b"))
    )
    save_test(run.data / "digits.test.npz", TestImages(store, labels))
    identity = _train(run.checkpoints / checkpoint_folder(TRIAL), run.weights)
    canary.mkdir()
    (canary / "letter.txt").write_text("mine\n")
    (canary / "a0000-e00001.pt").write_text("mine, too\n")
    (canary / checkpoint_folder(TRIAL)).mkdir()
    (canary / checkpoint_folder(TRIAL) / "a0000-e00001.pt").write_text("and this\n")
    return Template(folder, identity)


def _predict(events: list[Event], folder: Path) -> None:
    """Every confirm trial of the campaign leaves predictions for its study's 300 test images."""
    rng = np.random.default_rng(0)
    labels = np.arange(300, dtype=np.int32) % 10
    for event in events:
        if event["event"] == "epoch" and event.get("test") is not None:
            table = np.log(rng.dirichlet(np.ones(10), 300)).astype(np.float16)
            predictions = ImagePredictions(
                table,
                table.argmax(axis=1).astype(np.int32),
                labels,
                np.arange(300, dtype=np.int32),
                tuple(f"class {index}" for index in range(10)),
                tuple(f"test/{index:03}.png" for index in range(300)),
            )
            path = folder / predictions_name(event["trial"])
            event["predictions"] = {"sha256": save_predictions(path, predictions)}


def _train(checkpoints: Path, weights: Path) -> Identity:
    backbone = build_backbone("compact_cnn", 2, weights="none", options={}, seed=0)
    identity = identity_of(settings(), backbone.module, 3)
    optimizer = torch.optim.SGD(backbone.module.parameters(), lr=0.1, momentum=0.9)
    for epoch in (1, 2):
        records = tuple(
            EpochRecord(e, 1.0, 50.0, lr=0.1, seconds=1.0, images=6, validation=None)
            for e in range(1, epoch + 1)
        )
        state = Checkpoint(backbone.module.state_dict(), optimizer.state_dict(), records)
        save_checkpoint(checkpoints / f"a0000-e{epoch:05d}.pt", state, identity)
    save_weights(weights / "digits.compact_cnn.pc.safetensors", backbone, {"trial": TRIAL})
    return identity


def snapshot(folder: Path) -> str:
    """All that is in a folder, for comparison."""
    return json.dumps(
        [
            [str(path), path.lstat().st_mtime_ns, path.read_text() if path.is_file() else ""]
            for path in sorted(folder.rglob("*"))
        ]
    )
