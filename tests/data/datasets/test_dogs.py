from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pcsearch.data.catalog import DataOptions, open_dataset
from pcsearch.data.dataset import Dataset
from pcsearch.errors import UserError
from tests.data.datasets.layouts import DOG_LISTS, build_dogs, dog_annotation, save_dog_list

TRAIN = DOG_LISTS["train_list.mat"]


def read(root: Path, **options: object) -> Dataset:
    return open_dataset("dogs", replace(DataOptions(root=root), **options))


def check(dataset: Dataset, images: str = "Images") -> None:
    assert dataset.class_names == ("Chihuahua", "Japanese spaniel", "flat-coated retriever")
    train, test = dataset.train, dataset.test
    assert test is not None
    assert dataset.given_val is None
    assert train.labels.tolist() == [0, 1, 2]
    assert test.labels.tolist() == [2, 0, 1]
    assert train.images.name(1).endswith(f"/{images}/n02085782-Japanese_spaniel/n02085782_2.jpg")
    assert test.images.image(0).size == (12, 10)


def test_official_layout(tmp_path: Path) -> None:
    folder = build_dogs(tmp_path)
    for root in (tmp_path, folder):
        dataset = read(root)
        check(dataset)
        assert dataset.test is not None
        assert dataset.train.boxes is not None
        assert dataset.test.boxes is not None
        boxes = [[65, 50, 184, 354], [66, 50, 183, 354], [67, 50, 182, 354]]
        assert dataset.train.boxes.tolist() == boxes
        assert dataset.test.boxes.tolist()[0] == [68, 50, 181, 354]


def test_without_annotations(tmp_path: Path) -> None:
    shutil.rmtree(build_dogs(tmp_path) / "Annotation")
    dataset = read(tmp_path)
    check(dataset)
    assert dataset.train.boxes is None


def test_other_places(tmp_path: Path) -> None:
    folder = build_dogs(tmp_path)
    for old, new in (("Images", "images"), ("Annotation", "annotations")):
        (folder / new).mkdir()
        (folder / old).rename(folder / new / old)
    (folder / "lists").mkdir()
    for name in DOG_LISTS:
        (folder / name).rename(folder / "lists" / name)
    dataset = read(tmp_path)
    check(dataset, "images/Images")
    assert dataset.train.boxes is not None


def test_the_largest_of_several_dogs(tmp_path: Path) -> None:
    folder = build_dogs(tmp_path)
    path = folder / "Annotation" / TRAIN[0][0].removesuffix(".jpg")
    path.write_text(dog_annotation((1, 2, 11, 12), (0, 0, 20, 30), (5, 5, 6, 6)))
    boxes = read(tmp_path).train.boxes
    assert boxes is not None
    assert boxes[0].tolist() == [0, 0, 20, 30]


def test_chosen_classes(tmp_path: Path) -> None:
    build_dogs(tmp_path)
    dataset = read(tmp_path, classes=("Flat-Coated Retriever", 1))
    assert dataset.class_names == ("Chihuahua", "flat-coated retriever")
    assert dataset.train.labels.tolist() == [0, 1]


def test_labels_from_zero(tmp_path: Path) -> None:
    folder = build_dogs(tmp_path)
    for name, rows in DOG_LISTS.items():
        save_dog_list(folder / name, [(file, label - 1) for file, label in rows])
    check(read(tmp_path))


@pytest.mark.parametrize("content", [None, "", "<annotation></annotation>"])
def test_incomplete_annotations(tmp_path: Path, content: str | None) -> None:
    path = build_dogs(tmp_path) / "Annotation" / TRAIN[1][0].removesuffix(".jpg")
    path.unlink()
    if content is not None:
        path.write_text(content)
    message = r"lacks the boxes of 1 of 6 images \(n02085782-Jap.*remove the folder to use no"
    with pytest.raises(UserError, match=message):
        read(tmp_path)


@pytest.mark.parametrize("missing", ["train_list.mat", "test_list.mat", "Images"])
def test_incomplete(tmp_path: Path, missing: str) -> None:
    (build_dogs(tmp_path) / missing).rename(tmp_path / "moved")
    with pytest.raises(UserError, match=f"_dogs: {missing}/? missing.*data get dogs --root"):
        read(tmp_path)


def test_lists_that_disagree(tmp_path: Path) -> None:
    folder = build_dogs(tmp_path)
    rows = [(TRAIN[0][0], 2), (TRAIN[1][0], 1), TRAIN[2]]
    save_dog_list(folder / "train_list.mat", rows)
    with pytest.raises(UserError, match=r"class 1 is n02085782-Japanese_spaniel and n02085620-Chi"):
        read(tmp_path)


def test_half_unpacked_images(tmp_path: Path) -> None:
    folder = build_dogs(tmp_path)
    shutil.rmtree(folder / "Images" / "n02085782-Japanese_spaniel")
    with pytest.raises(UserError, match=r"lacks 1 of 3 image folders \(Images/n02085782-Jap"):
        read(tmp_path)
    assert len(read(tmp_path, classes=(1, 3)).train.labels) == 2
