"""Predictions in a file: what is read is what was written, and nothing else is read."""

from __future__ import annotations

import hashlib
import os
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save
from torch import Tensor, nn

from pcsearch.training import predictions_file
from pcsearch.training.evaluate import evaluate, evaluate_and_keep
from pcsearch.training.predictions_file import ImagePredictions, read_predictions, save_predictions

NAMES = ('a "quoted" one', "up/../and\\down", "\\udcff no UTF-8")


def predictions() -> ImagePredictions:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.25, 0.5, 0.25]])
    return ImagePredictions(
        np.log(probabilities).astype(np.float16),
        np.array([0, 1], np.int32),
        np.array([0, 2], np.int32),
        np.array([4, 5], np.int32),
        NAMES,
        ("one.png", "two\nlines.png"),
    )


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "predictions" / "a.safetensors"  # the folder is made
    sha256 = save_predictions(path, predictions())
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    found = read_predictions(path.read_bytes(), sha256)
    for name in ("log_probabilities", "predicted", "labels", "rows"):
        assert getattr(found, name).dtype == getattr(predictions(), name).dtype
        assert np.array_equal(getattr(found, name), getattr(predictions(), name))
    assert (found.class_names, found.image_names) == (NAMES, ("one.png", "two\nlines.png"))
    assert np.exp(found.log_probabilities[0].astype(float)) == pytest.approx([0.7, 0.2, 0.1], 1e-3)
    assert [file.name for file in path.parent.iterdir()] == ["a.safetensors"]
    assert save_predictions(path, predictions()) == sha256, "the same bytes each time"


def test_without_names_of_images(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    sha256 = save_predictions(path, replace(predictions(), image_names=()))
    assert read_predictions(path.read_bytes(), sha256).image_names == ()


def test_another_file_than_the_journals_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    sha256 = save_predictions(path, predictions())
    other = bytearray(path.read_bytes())
    other[-1] ^= 1
    with pytest.raises(ValueError, match="not the file that the journal names"):
        read_predictions(bytes(other), sha256)


@pytest.mark.parametrize(
    ("name", "array", "told"),
    [
        ("labels", np.array([0, 3], np.int32), "labels are not below 3"),
        ("labels", np.array([0, -1], np.int32), "labels are not below 3"),
        ("predicted", np.array([0], np.int32), "predicted are not one for each of 2 images"),
        ("rows", np.array([0, 1], np.int64), "rows are missing or of another type"),
        ("names", np.frombuffer(b'[["a"], []]', np.uint8), "does not name 2 images of 3"),
        ("names", np.frombuffer(b'[["a", "b", 3], []]', np.uint8), "no list of texts"),
        ("names", np.frombuffer(b"[[", np.uint8), "no JSON"),
        ("names", np.frombuffer(b"7", np.uint8), "no JSON|no list"),
        ("log_probabilities", np.full((2, 3), np.nan, np.float16), "not 0 or less"),
        ("log_probabilities", np.full((2, 3), 1, np.float16), "not 0 or less"),
        ("log_probabilities", np.zeros((0, 3), np.float16), "one for each of 0 images"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    name: str, array: np.ndarray, told: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    save_predictions(path, predictions())
    content = save(load(path.read_bytes()) | {name: array})
    with pytest.raises(ValueError, match=told):
        read_predictions(content, hashlib.sha256(content).hexdigest())


def test_damaged_files_raise_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_predictions(path, predictions())
    whole, draw = path.read_bytes(), random.Random(0)
    for _ in range(500):
        content = bytearray(whole[: draw.choice([len(whole), draw.randrange(len(whole))])])
        for _ in range(draw.randrange(4)):
            if content:
                content[draw.randrange(len(content))] = draw.randrange(256)
        try:
            read_predictions(bytes(content), hashlib.sha256(content).hexdigest())
        except ValueError:
            continue


def test_too_many_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions_file, "LARGEST_BYTES", 100)
    with pytest.raises(ValueError, match="at most 100 bytes are kept"):
        save_predictions(tmp_path / "a.safetensors", predictions())
    assert list(tmp_path.iterdir()) == []


def test_it_is_as_readable_as_other_files_of_the_run(tmp_path: Path) -> None:
    mask = os.umask(0o022)
    try:
        save_predictions(tmp_path / "a.safetensors", predictions())
    finally:
        os.umask(mask)
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == 0o644


class _Given(nn.Module):
    """Its images [B, 3, 1, N] hold their logits in channel 0."""

    def forward(self, images: Tensor) -> Tensor:
        return images[:, 0, 0]


def test_answers_are_those_that_are_measured() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1e5, 0.0], [1.0, 1.0, -300.0]])
    labels = torch.tensor([0, 1, 2])
    images = logits[:, None, None].expand(-1, 3, -1, -1)
    batches = [(images[:2], labels[:2]), (images[2:], labels[2:])]
    measured, answers = evaluate_and_keep(_Given(), batches, 3, "cpu")  # type: ignore[arg-type]
    assert measured == evaluate(_Given(), batches, 3, "cpu")  # type: ignore[arg-type]
    assert answers.labels.tolist() == [0, 1, 2]
    assert answers.predicted.tolist() == [0, 1, 0]
    kept = answers.log_probabilities.astype(float)
    assert kept.shape == (3, 3)
    total = np.exp([2, 1, 0]).sum()
    assert np.exp(kept[0]) == pytest.approx(np.exp([2, 1, 0]) / total, rel=1e-3)
    assert kept[1].tolist() == [-65504.0, 0.0, -65504.0], "never minus infinity"
    assert kept[2, 2] == pytest.approx(-301 - np.log(2), rel=1e-3), "probabilities would be 0"
