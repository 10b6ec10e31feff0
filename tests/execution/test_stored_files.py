"""A run's files as a worker sees them that shares no folder with the driver."""

from __future__ import annotations

import shutil
from itertools import islice
from pathlib import Path

import pytest

from pcsearch.execution.run_files import StoredFiles
from pcsearch.storage.local import LocalStorage
from pcsearch.training.checkpoints import Checkpoints
from tests.training.helpers import MemoryBatches, perceptron, same, settings, state, train

TRIAL = "digits/compact_cnn/pc/search-000"
FOLDER = "checkpoints/digits.compact_cnn.pc.search-000"
EPOCHS = 6


@pytest.fixture
def run(tmp_path: Path) -> LocalStorage:
    storage = LocalStorage(tmp_path / "run")
    storage.write("data/digits.train.npz", b"labels")
    storage.write("checkpoints/stopping", b"")  # so every epoch is written down
    return storage


def train_until(epoch: int, checkpoints: Checkpoints) -> None:
    run = train(perceptron(), MemoryBatches(), settings(epochs=EPOCHS), checkpoints=checkpoints)
    for _ in islice(run, epoch):
        pass
    run.close()


def epochs_trained(checkpoints: Checkpoints) -> list[int]:
    batches, backbone, whole = MemoryBatches(), perceptron(), perceptron()
    list(train(backbone, batches, settings(epochs=EPOCHS), checkpoints=checkpoints))
    list(train(whole, MemoryBatches(), settings(epochs=EPOCHS)))
    assert same(state(backbone), state(whole)), "it must end as an uninterrupted training does"
    return batches.asked


def test_another_node_goes_on_from_what_was_stored(tmp_path: Path, run: LocalStorage) -> None:
    one, two = StoredFiles(run.url, tmp_path / "one"), StoredFiles(run.url, tmp_path / "two")
    train_until(4, one.checkpoints(TRIAL, 0))
    assert run.list(FOLDER) == [f"{FOLDER}/a0000-e00003.pt", f"{FOLDER}/a0000-e00004.pt"]
    assert epochs_trained(two.checkpoints(TRIAL, 1)) == [5, 6]
    assert run.list(FOLDER) == [f"{FOLDER}/a0001-e00005.pt", f"{FOLDER}/a0001-e00006.pt"]
    two.done(TRIAL)
    assert list((tmp_path / "two" / "checkpoints").iterdir()) == []
    assert len(run.list(FOLDER)) == 2


def test_a_damaged_copy_falls_back_to_the_one_before(tmp_path: Path, run: LocalStorage) -> None:
    train_until(4, StoredFiles(run.url, tmp_path / "one").checkpoints(TRIAL, 0))
    run.write(f"{FOLDER}/a0000-e00004.pt", b"damaged")
    assert epochs_trained(StoredFiles(run.url, tmp_path / "two").checkpoints(TRIAL, 1)) == [4, 5, 6]


def test_a_store_that_fails_costs_no_training(tmp_path: Path, run: LocalStorage) -> None:
    checkpoints = StoredFiles(run.url, tmp_path / "one").checkpoints(TRIAL, 0)
    obstacle = tmp_path / "run" / FOLDER / "a0000-e00003.pt"
    obstacle.mkdir(parents=True)
    train_until(3, checkpoints)
    assert checkpoints.saved_epoch == 2
    assert "cannot store the checkpoint a0000-e00003.pt" in (checkpoints.error or "")
    obstacle.rmdir()
    train_until(EPOCHS, checkpoints)
    assert (checkpoints.saved_epoch, checkpoints.error) == (EPOCHS, None)


def test_labels_come_and_weights_go(tmp_path: Path, run: LocalStorage) -> None:
    files = StoredFiles(run.url, tmp_path / "node")
    assert (Path(files.data) / "digits.train.npz").read_bytes() == b"labels"
    shutil.rmtree(tmp_path / "run" / "data")  # fetched once
    assert (Path(files.data) / "digits.train.npz").read_bytes() == b"labels"
    path = files.weights("digits.safetensors")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    files.kept(path)
    assert run.read("weights/digits.safetensors") == b"weights"
    assert not path.exists()


def test_a_network_of_ones_own_has_its_files_in_a_store(tmp_path: Path, run: LocalStorage) -> None:
    """Its name has a colon, which no stored file may have: each of its trials failed."""
    trial = "digits/my_models:network/pc/confirm-000"
    files = StoredFiles(run.url, tmp_path / "one")
    train_until(4, files.checkpoints(trial, 0))
    stem = "digits.my_models~network.pc"
    stored = f"checkpoints/{stem}.confirm-000"
    assert run.list(stored) == [f"{stored}/a0000-e0000{epoch}.pt" for epoch in (3, 4)]
    assert epochs_trained(StoredFiles(run.url, tmp_path / "two").checkpoints(trial, 1)) == [5, 6]
    for path in (
        files.predictions(trial),
        files.weights("digits.my_models:network.pc.safetensors"),
    ):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"content")
        files.kept(path)
    assert run.list("predictions") == [f"predictions/{stem}.confirm-000.safetensors"]
    assert run.list("weights") == [f"weights/{stem}.safetensors"]
    files.done(trial)
    assert list((tmp_path / "one" / "checkpoints").iterdir()) == []
