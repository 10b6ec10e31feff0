from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from torchvision.datasets import Flowers102

from pcsearch.data.catalog import DATASETS, DataOptions, open_dataset
from pcsearch.data.dataset import Dataset
from pcsearch.data.datasets.flowers102 import CLASS_NAMES
from pcsearch.errors import UserError
from tests.data.datasets.layouts import FLOWER_LABELS, FLOWERS, build_flowers102


class AnyFlowers(Flowers102):
    """torchvision's reader without its checksums, which a tiny copy cannot have."""

    def _check_integrity(self) -> bool:
        return True


def read(root: Path, **options: object) -> Dataset:
    chosen = {"classes": (1, 102), **options}
    return open_dataset("flowers102", replace(DataOptions(root=root), **chosen))


def check(dataset: Dataset) -> None:
    assert dataset.class_names == ("pink primrose", "blackberry lily")
    train, test = dataset.train, dataset.test
    assert test is not None
    files = [Path(train.images.name(row)).name for row in range(4)]
    assert files == ["image_00002.jpg", "image_00006.jpg", "image_00005.jpg", "image_00001.jpg"]
    assert train.labels.tolist() == [0, 1, 0, 1]
    assert test.labels.tolist() == [0, 1, 0]
    assert dataset.given_val is not None
    assert dataset.given_val.tolist() == [2, 3]
    assert train.boxes is None
    assert test.images.image(2).size == (12, 10)


def test_official_layout(tmp_path: Path) -> None:
    folder = build_flowers102(tmp_path)
    check(read(tmp_path))
    check(read(folder))


def test_agrees_with_torchvision(tmp_path: Path) -> None:
    build_flowers102(tmp_path)
    dataset = read(tmp_path)
    assert dataset.test is not None
    assert dataset.given_val is not None
    position = {0: 0, 101: 1}
    splits = {split: AnyFlowers(tmp_path, split=split) for split in ("train", "val", "test")}
    labels = {split: [position[label] for label in s._labels] for split, s in splits.items()}
    fit = np.setdiff1d(np.arange(4), dataset.given_val)
    assert dataset.train.labels[fit].tolist() == labels["train"]
    assert dataset.train.labels[dataset.given_val].tolist() == labels["val"]
    assert dataset.test.labels.tolist() == labels["test"]
    names = [dataset.test.images.name(row) for row in range(3)]
    assert names == [str(file) for file in splits["test"]._image_files]


def test_names_and_archives_are_those_of_torchvision() -> None:
    assert [*CLASS_NAMES] == [name.rstrip("?") for name in Flowers102.classes]
    ours = {(a.urls[0], a.checksum) for a in DATASETS["flowers102"].archives}
    prefix = Flowers102._download_url_prefix
    assert ours == {(f"{prefix}{f}", f"md5:{m}") for f, m in Flowers102._file_dict.values()}


def test_labels_from_zero(tmp_path: Path) -> None:
    folder = build_flowers102(tmp_path)
    savemat(folder / "imagelabels.mat", {"labels": np.array([FLOWER_LABELS]) - 1})
    check(read(tmp_path))


def test_column_vectors_of_doubles(tmp_path: Path) -> None:
    folder = build_flowers102(tmp_path)
    savemat(folder / "imagelabels.mat", {"labels": np.array([FLOWER_LABELS], dtype=float).T})
    check(read(tmp_path))


def test_classes_without_images(tmp_path: Path) -> None:
    build_flowers102(tmp_path)
    with pytest.raises(UserError, match=r"hard-leaved pocket orchid.* have no training images"):
        read(tmp_path, classes=None)


@pytest.mark.parametrize("missing", ["imagelabels.mat", "setid.mat", "jpg"])
def test_incomplete(tmp_path: Path, missing: str) -> None:
    (build_flowers102(tmp_path) / missing).rename(tmp_path / "moved")
    with pytest.raises(UserError, match=f"102: {missing}/? missing.*data get flowers102 --root"):
        read(tmp_path)


def test_fewer_labels_than_images(tmp_path: Path) -> None:
    folder = build_flowers102(tmp_path)
    savemat(folder / "imagelabels.mat", {"labels": np.array([FLOWER_LABELS[:5]])})
    with pytest.raises(UserError, match=r"trnid goes from image 2 to 6.* labels of images 1 to 5"):
        read(tmp_path)


def test_a_label_beyond_102(tmp_path: Path) -> None:
    folder = build_flowers102(tmp_path)
    savemat(folder / "imagelabels.mat", {"labels": np.array([[103, *FLOWER_LABELS[1:]]])})
    with pytest.raises(UserError, match="class numbers go from 1 to 103, but there are 102"):
        read(tmp_path)


def test_a_test_image_among_the_training_images(tmp_path: Path) -> None:
    folder = build_flowers102(tmp_path)
    savemat(folder / "setid.mat", {**FLOWERS, "trnid": (2, 4)})
    with pytest.raises(UserError, match=r"1 images are listed both as training and as test.*00004"):
        read(tmp_path)


def test_set_missing(tmp_path: Path) -> None:
    folder = build_flowers102(tmp_path)
    savemat(folder / "setid.mat", {"trnid": (1, 2), "valid": (3, 4)})
    with pytest.raises(UserError, match=r"setid\.mat has no tstid \(it has: trnid, valid\)"):
        read(tmp_path)
