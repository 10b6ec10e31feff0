from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from scipy.io import savemat
from torchvision.datasets import StanfordCars

from pcsearch.data.catalog import DataOptions, open_dataset
from pcsearch.data.dataset import Dataset
from pcsearch.errors import UserError
from tests.data.datasets.layouts import (
    CAR_NAMES,
    CARS_TEST,
    CARS_TRAIN,
    build_cars,
    build_cars_in_one_folder,
    cells,
    save_car_annotations,
)

TRAIN_BOXES = [[38, 115, 531, 260], [0, 0, 12, 10], [4, 7, 2, 2]]
TEST_BOXES = [[29, 51, 217, 96], [1, 2, 299, 398], [4, 7, 2, 2]]


def read(root: Path, **options: object) -> Dataset:
    return open_dataset("cars", replace(DataOptions(root=root), **options))


def check(dataset: Dataset, train_files: list[str], test_files: list[str]) -> None:
    assert dataset.class_names == CAR_NAMES
    assert dataset.given_val is None
    assert dataset.ancestors is None
    train, test = dataset.train, dataset.test
    assert test is not None
    assert train.boxes is not None
    assert test.boxes is not None
    assert train.labels.tolist() == [1, 0, 2]
    assert test.labels.tolist() == [2, 0, 1]
    assert train.boxes.tolist() == TRAIN_BOXES
    assert test.boxes.tolist() == TEST_BOXES
    for part, files in ((train, train_files), (test, test_files)):
        names = [part.images.name(row) for row in range(len(part.images))]
        assert [name.partition("stanford_cars/")[2] for name in names] == files
        assert part.images.image(0).size == (12, 10)


TWO_FOLDERS = (
    [f"cars_train/{name}" for name, _, _ in CARS_TRAIN],
    [f"cars_test/{name}" for name, _, _ in CARS_TEST],
)


def test_two_folders(tmp_path: Path) -> None:
    folder = build_cars(tmp_path)
    check(read(tmp_path), *TWO_FOLDERS)
    check(read(folder), *TWO_FOLDERS)


def test_agrees_with_torchvision(tmp_path: Path) -> None:
    build_cars(tmp_path)
    dataset = read(tmp_path)
    assert dataset.test is not None
    for split, part in (("train", dataset.train), ("test", dataset.test)):
        reference = StanfordCars(tmp_path, split=split)
        assert reference.classes == list(dataset.class_names)
        ours = [(part.images.name(row), int(label)) for row, label in enumerate(part.labels)]
        assert ours == [(path, int(label)) for path, label in reference._samples]


def test_one_folder(tmp_path: Path) -> None:
    build_cars_in_one_folder(tmp_path)
    files = [f"car_ims/{row:06}.jpg" for row in range(1, 7)]
    check(read(tmp_path), files[:3], files[3:])


def test_two_folders_win_over_a_stray_annotation_file(tmp_path: Path) -> None:
    """Some mirrors add cars_annos.mat, whose numbering does not fit cars_train/."""
    build_cars_in_one_folder(tmp_path)
    build_cars(tmp_path)
    check(read(tmp_path), *TWO_FOLDERS)


@pytest.mark.parametrize("place", ["", "car_devkit/devkit"])
def test_development_kit_elsewhere(tmp_path: Path, place: str) -> None:
    folder = build_cars(tmp_path)
    (folder / place).mkdir(parents=True, exist_ok=True)
    for file in [*(folder / "devkit").iterdir(), folder / "cars_test_annos_withlabels.mat"]:
        file.rename(folder / place / file.name)
    check(read(tmp_path), *TWO_FOLDERS)


def test_nested_image_folders(tmp_path: Path) -> None:
    folder = build_cars(tmp_path)
    for part in ("cars_train", "cars_test"):
        (folder / part).rename(folder / "moved")
        (folder / part).mkdir()
        (folder / "moved").rename(folder / part / part)
    check(
        read(tmp_path),
        [f"cars_train/{name}" for name in TWO_FOLDERS[0]],
        [f"cars_test/{name}" for name in TWO_FOLDERS[1]],
    )


def test_labels_from_zero(tmp_path: Path) -> None:
    build_cars(tmp_path, first=0)
    check(read(tmp_path), *TWO_FOLDERS)


def test_one_image_a_part(tmp_path: Path) -> None:
    """A struct array of one element, the case that squeezing readers trip over."""
    folder = build_cars(tmp_path)
    save_car_annotations(folder / "devkit" / "cars_train_annos.mat", CARS_TRAIN[:1])
    save_car_annotations(folder / "cars_test_annos_withlabels.mat", CARS_TEST[2:])
    with pytest.raises(UserError, match="AM General Hummer SUV 2000, smart fortwo 2012 have no"):
        read(tmp_path)


def test_chosen_classes(tmp_path: Path) -> None:
    build_cars(tmp_path)
    dataset = read(tmp_path, classes=("smart fortwo 2012", 2))
    assert dataset.class_names == CAR_NAMES[1:]
    assert dataset.train.labels.tolist() == [0, 1]
    assert dataset.train.boxes is not None
    assert dataset.train.boxes.tolist() == [TRAIN_BOXES[0], TRAIN_BOXES[2]]


def test_test_labels_missing(tmp_path: Path) -> None:
    folder = build_cars(tmp_path)
    (folder / "cars_test_annos_withlabels.mat").unlink()
    with pytest.raises(UserError, match=r"stanford_cars: cars_test_annos_withlabels\.mat missing"):
        read(tmp_path)


def test_development_kit_is_no_substitute_for_test_labels(tmp_path: Path) -> None:
    folder = build_cars(tmp_path)
    (folder / "devkit" / "cars_test_annos.mat").rename(folder / "cars_test_annos_withlabels.mat")
    with pytest.raises(UserError, match=r"withlabels\.mat holds no labels.*kaggle"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        ("devkit/cars_meta.mat", "devkit/cars_meta.mat"),
        ("devkit/cars_train_annos.mat", "devkit/cars_train_annos.mat"),
        ("cars_test", "cars_test/"),
    ],
)
def test_incomplete(tmp_path: Path, missing: str, named: str) -> None:
    folder = build_cars(tmp_path)
    (folder / missing).rename(tmp_path / "moved")
    with pytest.raises(UserError, match=f"not complete at .*stanford_cars: {named} missing. Its"):
        read(tmp_path)


def test_one_folder_without_annotations(tmp_path: Path) -> None:
    (build_cars_in_one_folder(tmp_path) / "cars_annos.mat").unlink()
    with pytest.raises(UserError, match=r"stanford_cars: cars_annos\.mat missing"):
        read(tmp_path)


def test_more_classes_in_the_labels_than_names(tmp_path: Path) -> None:
    folder = build_cars(tmp_path)
    savemat(folder / "devkit" / "cars_meta.mat", {"class_names": cells(CAR_NAMES[:2])})
    with pytest.raises(UserError, match="class numbers go from 1 to 3, but there are 2 classes"):
        read(tmp_path)
