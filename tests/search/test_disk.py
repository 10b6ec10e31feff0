"""What `pcsearch plan` says of checkpoints is what they take."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pcsearch.execution.preflight.model_check import ENOUGH_PIXELS
from pcsearch.models import build_backbone
from pcsearch.recipe.load import load_recipe
from pcsearch.search.checkpoint_size import FILES, KNOWN, checkpoint_bytes
from pcsearch.training.checkpoints import Checkpoints
from pcsearch.training.config import TrainConfig
from pcsearch.training.trainer import fit

CLASSES = 37


class Noise:
    """Two batches of random images an epoch."""

    def __len__(self) -> int:
        return 2

    def epoch(self, epoch: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return [(torch.rand(4, 3, 32, 32), torch.arange(4))] * 2


def test_every_network_that_need_not_be_built_is_known() -> None:
    assert KNOWN.keys() == ENOUGH_PIXELS.keys()


@pytest.mark.parametrize("name", ["compact_cnn", "googlenet", "resnet50", "densenet161"])
def test_known_sizes_are_those_of_the_networks(name: str) -> None:
    state = build_backbone(name, CLASSES, weights="none").module.state_dict()
    assert sum(value.numel() for value in state.values()) == KNOWN[name].numbers(CLASSES)


def test_with_a_frozen_body_a_checkpoint_holds_the_head_alone() -> None:
    recipe = load_recipe("quickstart", ["train.freeze=body", "train.optimizer=adamw"])
    said = checkpoint_bytes(recipe, "compact_cnn", KNOWN["compact_cnn"], CLASSES)
    assert said == 65 * CLASSES * 4 * 3


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_trials_checkpoints_take_what_was_said(tmp_path: Path, optimizer: str) -> None:
    recipe = load_recipe("quickstart", [f"train.optimizer={optimizer}", "train.momentum=0.9"])
    said = checkpoint_bytes(recipe, "compact_cnn", KNOWN["compact_cnn"], CLASSES)
    settings = TrainConfig(epochs=6, seed=0, lr=0.01, batch_size=4, optimizer=optimizer)
    largest = 0
    for _ in fit(
        build_backbone("compact_cnn", CLASSES, weights="none"),
        Noise(),  # type: ignore[arg-type]
        settings,
        device="cpu",
        evaluate=None,
        checkpoints=Checkpoints(tmp_path, every_seconds=0.0),
    ):
        files = [path.stat().st_size for path in tmp_path.iterdir()]
        assert len(files) <= FILES - 1
        largest = max(largest, *files)
    # a small network's file is a tenth names and padding; that of a large one is not
    assert 0.95 * said < largest < 1.15 * said
