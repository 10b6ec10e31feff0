from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from pcsearch.data.catalog import DataOptions, open_dataset
from pcsearch.data.dataset import Dataset, UInt8Array
from pcsearch.errors import UserError

COUNTS = {"train": 30, "test": 20}


def digits(count: int, seed: int) -> tuple[UInt8Array, UInt8Array]:
    """X [32, 32, 3, n] and y [n, 1] as the official files have them: 1 to 9, and 10 for 0."""
    images = np.random.default_rng(seed).integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
    return images, np.array([[number % 10 + 1] for number in range(count)], dtype=np.uint8)


def save(path: Path, count: int, seed: int, **changes: Any) -> None:
    images, labels = digits(count, seed)
    content = {"X": images, "y": labels} | changes
    savemat(path, {k: v for k, v in content.items() if v is not None}, do_compression=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "svhn").mkdir()
    for seed, (part, count) in enumerate(COUNTS.items()):
        save(tmp_path / "svhn" / f"{part}_32x32.mat", count, seed)
    return tmp_path


def read(root: Path, **options: Any) -> Dataset:
    return open_dataset("svhn", replace(DataOptions(root=root), **options))


@pytest.mark.parametrize("inside", ["", "svhn"])
def test_official_files(root: Path, inside: str) -> None:
    dataset = read(root / inside)
    assert dataset.class_names == tuple("0123456789")
    assert dataset.test is not None
    for seed, part in enumerate((dataset.train, dataset.test)):
        images, labels = digits(len(part.labels), seed)
        assert part.labels.tolist() == [0 if label == 10 else label for label in labels[:, 0]]
        for index in range(len(part.labels)):
            assert np.array_equal(np.asarray(part.images.image(index)), images[:, :, :, index])
    assert (len(dataset.train.labels), len(dataset.test.labels)) == (30, 20)


def test_classes_are_the_digits(root: Path) -> None:
    dataset = read(root, classes=(0, 7))
    assert dataset.class_names == ("0", "7")
    images, _ = digits(30, 0)
    assert dataset.train.labels.tolist() == [1, 0, 1, 0, 1, 0]
    assert np.array_equal(np.asarray(dataset.train.images.image(1)), images[..., 9])
    assert dataset.train.images.name(1) == "train_32x32.mat, image 9"


def test_missing_files(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="data get svhn"):
        read(tmp_path / "nowhere")
    (root / "svhn" / "test_32x32.mat").unlink()
    with pytest.raises(UserError, match=r"svhn: test_32x32\.mat missing"):
        read(root)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99, 0.99999])
def test_truncated_file(root: Path, share: float) -> None:
    path = root / "svhn" / "train_32x32.mat"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"train_32x32\.mat is not the official file"):
        read(root)


def test_truncation_is_found_when_the_labels_come_first(root: Path) -> None:
    path = root / "svhn" / "train_32x32.mat"
    images, labels = digits(30, 0)
    savemat(path, {"y": labels, "X": images})
    read(root)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="it is cut short at"):
        read(root)


def test_web_page_instead_of_the_file(root: Path) -> None:
    (root / "svhn" / "test_32x32.mat").write_text("<html>404</html>" * 20)
    with pytest.raises(UserError, match="it is no MATLAB 5 file"):
        read(root)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": None}, r"images of shape \(\)"),
        ({"X": np.zeros((30, 32, 32, 3), np.uint8)}, r"shape \(30, 32, 32, 3\), not"),
        ({"y": None}, "lacks 'y'"),
        ({"y": np.ones((29, 1), np.uint8)}, "30 images, but 29 labels"),
        ({"y": np.full((30, 1), 11, np.uint8)}, "labels go from 11 to 11"),
        ({"y": ["seven"] * 30}, "labels are <U5, not numbers"),
        ({"y": np.array([{"digit": 7}] * 30)}, "labels are object, not numbers"),
        ({"y": np.full((30, 1), 1.5)}, "some of its labels are no whole numbers"),
        ({"y": np.full((30, 1), np.nan)}, "labels go from nan to nan"),
        ({"y": np.ones((30, 1), np.uint8)}, "class 0 has no training images"),
    ],
)
def test_contents_that_are_not_the_official_ones(
    root: Path, changes: dict[str, Any], message: str
) -> None:
    save(root / "svhn" / "train_32x32.mat", 30, 0, **changes)
    with pytest.raises(UserError, match=message):
        read(root)


def test_pixels_of_another_type_are_found_when_they_are_read(root: Path) -> None:
    save(root / "svhn" / "train_32x32.mat", 30, 0, X=np.zeros((32, 32, 3, 30), np.float32))
    with pytest.raises(UserError, match="its images are float32, not bytes"):
        read(root).train.images.image(0)
