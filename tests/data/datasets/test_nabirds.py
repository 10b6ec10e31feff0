from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pcsearch.data.catalog import DataOptions, open_dataset
from pcsearch.data.dataset import Dataset
from pcsearch.errors import UserError
from tests.data.datasets.layouts import BIRDS, build_nabirds

DUCKS, PERCHING = "Ducks, Geese, and Swans", "Perching Birds"


def read(root: Path, level: str | None = None, **options: object) -> Dataset:
    levels = {} if level is None else {"nabirds": level}
    return open_dataset("nabirds", replace(DataOptions(root=root, levels=levels), **options))


def check_leaves(dataset: Dataset) -> None:
    assert dataset.class_names == (
        "Common Eider (Adult male)",
        "Common Eider (Female/juvenile)",
        "Boreal Chickadee",
        "Verdin",
    )
    assert dataset.ancestors == (
        ("Common Eider", DUCKS, DUCKS),
        ("Common Eider", DUCKS, DUCKS),
        ("Boreal Chickadee", "Chickadees and Titmice", PERCHING),
        ("Verdin", "Verdin", PERCHING),
    )
    train, test = dataset.train, dataset.test
    assert test is not None
    assert train.boxes is not None
    assert test.boxes is not None
    assert train.labels.tolist() == [0, 2, 1, 3]
    assert test.labels.tolist() == [2, 0, 1, 3]
    assert train.images.name(0).endswith("nabirds/images/0295/01f53d6bf5e449438d2bb79e0854bca4.jpg")
    assert test.images.image(0).size == (12, 10)
    assert train.boxes.tolist()[:2] == [[1, 2, 20, 31], [2, 3, 20, 32]]
    assert test.boxes.tolist()[0] == [0, 1, 20, 30]


def test_leaves(tmp_path: Path) -> None:
    folder = build_nabirds(tmp_path)
    check_leaves(read(tmp_path))
    check_leaves(read(folder, "leaf"))


def test_windows_line_ends(tmp_path: Path) -> None:
    build_nabirds(tmp_path, "\r\n")
    check_leaves(read(tmp_path))


def test_byte_order_mark(tmp_path: Path) -> None:
    folder = build_nabirds(tmp_path)
    (folder / "images.txt").write_text(BIRDS["images.txt"], encoding="utf-8-sig")
    check_leaves(read(tmp_path))


@pytest.mark.parametrize(
    ("level", "names", "train", "ancestors"),
    [
        (
            "species",
            ("Common Eider", "Boreal Chickadee", "Verdin"),
            [0, 1, 0, 2],
            ((DUCKS, DUCKS), ("Chickadees and Titmice", PERCHING), ("Verdin", PERCHING)),
        ),
        (
            "family",
            (DUCKS, "Chickadees and Titmice", "Verdin"),
            [0, 1, 0, 2],
            ((DUCKS,), (PERCHING,), (PERCHING,)),
        ),
        ("order", (DUCKS, PERCHING), [0, 1, 0, 1], None),
    ],
)
def test_coarser_levels(
    tmp_path: Path, level: str, names: tuple[str, ...], train: list[int], ancestors: object
) -> None:
    build_nabirds(tmp_path)
    dataset = read(tmp_path, level)
    assert dataset.class_names == names
    assert dataset.train.labels.tolist() == train
    assert dataset.ancestors == ancestors


def test_classes_by_their_own_numbers(tmp_path: Path) -> None:
    build_nabirds(tmp_path)
    dataset = read(tmp_path, classes=(817, 295))
    assert dataset.class_names == ("Common Eider (Adult male)", "Boreal Chickadee")
    assert dataset.train.labels.tolist() == [0, 1]
    with pytest.raises(UserError, match="no class has the number 1; the numbers are 295 to 1001"):
        read(tmp_path, classes=(1, 295))
    assert read(tmp_path, "species", classes=(179, 433)).class_names == ("Common Eider", "Verdin")


def test_names_that_two_classes_share(tmp_path: Path) -> None:
    folder = build_nabirds(tmp_path)
    (folder / "classes.txt").write_text(
        BIRDS["classes.txt"].replace("817 Boreal Chickadee", "817 Verdin")
    )
    assert read(tmp_path).class_names[2:] == ("Verdin", "Verdin")
    with pytest.raises(UserError, match="'Verdin' could mean 'Verdin' or 'Verdin'"):
        read(tmp_path, classes=("Verdin", 295))
    assert read(tmp_path, classes=(817, 295)).train.labels.tolist() == [0, 1]


def test_nothing_there_says_what_to_do(tmp_path: Path) -> None:
    message = r"NABirds is not at .*nabirds\. Fill in the form at https://dl\.allabout.*data\.root"
    with pytest.raises(UserError, match=message):
        read(tmp_path)


@pytest.mark.parametrize("missing", [*BIRDS, "images"])
def test_incomplete(tmp_path: Path, missing: str) -> None:
    (build_nabirds(tmp_path) / missing).rename(tmp_path / "moved")
    with pytest.raises(UserError, match=f"nabirds: {missing}/? missing. Fill in the form"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("table", "content", "message"),
    [
        ("hierarchy.txt", "1 0\n", "hierarchy.txt does not lead from class"),
        (
            "hierarchy.txt",
            BIRDS["hierarchy.txt"].replace("179 1\n", "179 295\n"),
            "hierarchy.txt does not lead from class",
        ),
        (
            "hierarchy.txt",
            BIRDS["hierarchy.txt"].replace("295 179", "295 0"),
            "does not lead from class 295 through a species",
        ),
        (
            "classes.txt",
            BIRDS["classes.txt"].replace("424 Boreal Chickadee\n", ""),
            "classes.txt does not name class 424",
        ),
        (
            "image_class_labels.txt",
            BIRDS["image_class_labels.txt"].replace(" 1001\n", " 822\n"),
            "hierarchy.txt does not lead from class 822",
        ),
        (
            "bounding_boxes.txt",
            BIRDS["bounding_boxes.txt"].replace(" 20 ", " "),
            "an image number and x, y, width, height",
        ),
        (
            "train_test_split.txt",
            BIRDS["train_test_split.txt"].replace(" 0\n", " 1\n"),
            "Verdin have no test images",
        ),
    ],
)
def test_tables_that_do_not_fit(tmp_path: Path, table: str, content: str, message: str) -> None:
    (build_nabirds(tmp_path) / table).write_text(content)
    with pytest.raises(UserError, match=message):
        read(tmp_path)
