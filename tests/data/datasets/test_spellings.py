"""One class in two spellings, in folders and in manifests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pcsearch.errors import UserError
from tests.data.datasets.manifest_files import ROWS, SPLIT, read_text, save_images
from tests.data.datasets.test_folder import read
from tests.data.image_files import save_classes

MOEWE_NFC, MOEWE_NFD = "m\u00f6we", "mo\u0308we"


def test_class_folders_in_two_unicode_forms_are_one_class(tmp_path: Path) -> None:
    save_classes(tmp_path / "train", {"bee": 4, MOEWE_NFD: 4}, seed=0)
    save_classes(tmp_path / "val", {"bee": 1, MOEWE_NFC: 1}, seed=1)
    dataset = read(tmp_path)
    assert dataset.class_names == ("bee", MOEWE_NFD)  # as in train: old splits stay as they are
    assert dataset.given_val is not None
    assert dataset.train.labels[dataset.given_val].tolist() == [0, 1]


def test_two_forms_side_by_side_are_one_class(tmp_path: Path) -> None:
    save_classes(tmp_path, {"bee": 6, MOEWE_NFD: 3, MOEWE_NFC: 3})
    if len([*tmp_path.iterdir()]) < 3:
        pytest.skip("this file system knows one form only")
    dataset = read(tmp_path)
    assert dataset.class_names == ("bee", MOEWE_NFD)
    assert dataset.test is not None
    assert np.bincount([*dataset.train.labels, *dataset.test.labels]).tolist() == [6, 6]


def test_folders_that_look_like_one_class_are_named(tmp_path: Path) -> None:
    save_classes(tmp_path / "flat", {"bee": 4, "Bee": 4, "ant": 4})
    with pytest.raises(UserError, match=r"several spellings: 'Bee' \(4 images\) and 'bee' \(4"):
        read(tmp_path / "flat")
    assert read(tmp_path / "flat", classes=("bee", "ant")).class_names == ("ant", "bee")
    save_classes(tmp_path / "parts" / "train", {"bee": 4, "ant": 4}, seed=0)
    save_classes(tmp_path / "parts" / "val", {"Bee": 1, "ant": 1}, seed=1)
    with pytest.raises(UserError, match=r"val has the class 'Bee', .*train has 'bee'"):
        read(tmp_path / "parts")


def test_labels_in_two_unicode_forms_are_one_class(tmp_path: Path) -> None:
    save_images(tmp_path, [row[0] for row in ROWS])
    text = SPLIT.replace("gull,train", "m\u00f6we,train").replace("gull", "mo\u0308we")
    assert read_text(tmp_path, text).class_names == ("mo\u0308we", "tern")
