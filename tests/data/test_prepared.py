from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pcsearch.data.catalog import DataOptions, open_dataset
from pcsearch.data.dataset import Dataset, Part
from pcsearch.data.prepared import prepare_test, prepare_training
from pcsearch.data.splits import split_for
from pcsearch.errors import UserError
from tests.data.image_files import ForbiddenImages, save_classes


def with_parts(folder: Path) -> Dataset:
    save_classes(folder / "train", {"a": 4, "b": 3}, seed=0)
    save_classes(folder / "val", {"a": 2, "b": 1}, seed=1)
    save_classes(folder / "test", {"a": 1, "b": 2}, seed=2)
    return open_dataset("images", DataOptions(images=folder))


def test_rows_labels_and_validation_line_up(tmp_path: Path) -> None:
    dataset = with_parts(tmp_path / "images")
    training = prepare_training(dataset, 8, tmp_path / "cache")
    assert training.labels.tolist() == [0, 0, 0, 0, 1, 1, 1, 0, 0, 1]
    assert training.class_names == ("a", "b")
    assert training.given_val is not None
    assert training.given_val.tolist() == [7, 8, 9]
    test = prepare_test(dataset, 8, tmp_path / "cache")
    assert test.labels.tolist() == [0, 1, 1]
    assert test.store.path != training.store.path


def test_alignment_after_skipped_images(tmp_path: Path) -> None:
    with_parts(tmp_path / "images")
    for name in ("train/a/01.jpg", "val/a/00.jpg"):
        (tmp_path / "images" / name).write_bytes(b"")
    dataset = open_dataset("images", DataOptions(images=tmp_path / "images"))
    with pytest.raises(UserError, match="2 of 10 images cannot be read"):
        prepare_training(dataset, 8, tmp_path / "cache")
    training = prepare_training(dataset, 8, tmp_path / "cache", on_bad_image="skip")
    assert training.labels.tolist() == [0, 0, 0, 1, 1, 1, 0, 1]
    assert training.given_val is not None
    assert training.given_val.tolist() == [6, 7]
    assert len(training.store.bad) == 2


def test_class_emptied_by_skipping_is_refused(tmp_path: Path) -> None:
    with_parts(tmp_path / "images")
    (tmp_path / "images" / "val/b/00.jpg").write_bytes(b"")
    (tmp_path / "images" / "test/a/00.jpg").write_bytes(b"")
    dataset = open_dataset("images", DataOptions(images=tmp_path / "images"))
    training = prepare_training(dataset, 8, tmp_path / "cache", on_bad_image="skip")
    with pytest.raises(UserError, match=r"no usable validation images: b \(0\)"):
        split_for(training.labels, training.given_val, 0.2, 0, 0, training.class_names)
    with pytest.raises(UserError, match="no test image of these classes can be read: a"):
        prepare_test(dataset, 8, tmp_path / "cache", on_bad_image="skip")


def test_training_never_touches_the_test_part(tmp_path: Path) -> None:
    class Guarded(Dataset):
        """A dataset that will not even give its test part away."""

        def __getattribute__(self, name: str) -> object:
            assert name != "test", "the test part was asked for"
            return super().__getattribute__(name)

    dataset = with_parts(tmp_path / "images")
    forbidden = Part(ForbiddenImages(3), np.zeros(3, dtype=np.int64))
    guarded = Guarded(dataset.id, dataset.class_names, dataset.train, forbidden, dataset.given_val)
    training = prepare_training(guarded, 8, tmp_path / "cache")
    assert len(training.labels) == 10
    with pytest.raises(AssertionError, match="asked for its key"):
        prepare_test(replace(dataset, test=forbidden), 8, tmp_path / "cache")


def test_no_test_part(tmp_path: Path) -> None:
    dataset = replace(with_parts(tmp_path / "images"), test=None)
    with pytest.raises(UserError, match="no test images"):
        prepare_test(dataset, 8, tmp_path / "cache")
