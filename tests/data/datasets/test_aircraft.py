from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from torchvision.datasets import FGVCAircraft

from pcsearch.data.catalog import DataOptions, open_dataset
from pcsearch.data.dataset import Dataset
from pcsearch.errors import UserError
from tests.data.datasets.layouts import AIRCRAFT, build_aircraft

IDS = ["1025794", "0034309", "0056978", "0450014"]


def read(root: Path, level: str | None = None, **options: object) -> Dataset:
    levels = {} if level is None else {"aircraft": level}
    return open_dataset("aircraft", replace(DataOptions(root=root, levels=levels), **options))


def check_variants(dataset: Dataset) -> None:
    assert dataset.class_names == ("707-320", "A300B4", "F/A-18", "Yak-42")
    assert dataset.given_val is None
    assert dataset.ancestors == (
        ("Boeing 707", "Boeing"),
        ("A300", "Airbus"),
        ("F/A-18", "McDonnell Douglas"),
        ("Yak-42", "Yakovlev"),
    )
    train, test = dataset.train, dataset.test
    assert test is not None
    assert train.boxes is not None
    assert test.boxes is not None
    assert train.labels.tolist() == [0, 1, 2, 3]
    assert test.labels.tolist() == [3, 2, 1, 0]
    assert [Path(train.images.name(row)).name for row in range(4)] == [f"{i}.jpg" for i in IDS]
    assert train.images.image(3).size == (12, 10)
    # the second reaches far beyond its image: kept as it is written
    assert train.boxes.tolist() == [[0, 0, 12, 10], [2, 89, 1018, 504], [1, 1, 2, 3], [0, 0, 1, 1]]
    assert test.boxes.tolist()[0] == [4, 5, 3, 4]


def test_variants(tmp_path: Path) -> None:
    folder = build_aircraft(tmp_path)
    check_variants(read(tmp_path))
    check_variants(read(folder, "variant"))


def test_windows_line_ends(tmp_path: Path) -> None:
    build_aircraft(tmp_path, "\r\n")
    check_variants(read(tmp_path))


def test_families(tmp_path: Path) -> None:
    build_aircraft(tmp_path)
    dataset = read(tmp_path, "family")
    assert dataset.class_names == ("A300", "Boeing 707", "F/A-18", "Yak-42")
    assert dataset.train.labels.tolist() == [1, 0, 2, 3]
    assert dataset.ancestors == (("Airbus",), ("Boeing",), ("McDonnell Douglas",), ("Yakovlev",))


def test_manufacturers(tmp_path: Path) -> None:
    build_aircraft(tmp_path)
    dataset = read(tmp_path, "manufacturer", classes=("mcdonnell douglas", "Airbus"))
    assert dataset.class_names == ("Airbus", "McDonnell Douglas")
    assert dataset.train.labels.tolist() == [0, 1]
    assert dataset.ancestors is None


@pytest.mark.parametrize("level", ["variant", "family", "manufacturer"])
def test_agrees_with_torchvision(tmp_path: Path, level: str) -> None:
    build_aircraft(tmp_path)
    dataset = read(tmp_path, level)
    assert dataset.test is not None
    for split, part in (("trainval", dataset.train), ("test", dataset.test)):
        reference = FGVCAircraft(tmp_path, split=split, annotation_level=level)
        assert reference.classes == list(dataset.class_names)
        files = [part.images.name(row) for row in range(len(part.images))]
        assert files == [str(file) for file in reference._image_files]
        assert part.labels.tolist() == reference._labels


def test_ancestors_follow_the_chosen_classes(tmp_path: Path) -> None:
    build_aircraft(tmp_path)
    dataset = read(tmp_path, classes=("F/A-18", "A300B4"))
    assert dataset.class_names == ("A300B4", "F/A-18")
    assert dataset.ancestors == (("A300", "Airbus"), ("F/A-18", "McDonnell Douglas"))


def test_unknown_level(tmp_path: Path) -> None:
    build_aircraft(tmp_path)
    message = 'aircraft has no level "familiy", did you mean "family".*variant, family, manuf'
    with pytest.raises(UserError, match=message):
        read(tmp_path, "familiy")


@pytest.mark.parametrize("missing", [*AIRCRAFT, "images"])
def test_incomplete(tmp_path: Path, missing: str) -> None:
    folder = build_aircraft(tmp_path)
    (folder / "data" / missing).rename(tmp_path / "moved")
    with pytest.raises(UserError, match=rf"2013b: data/{missing}/? missing.*get aircraft --root"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("table", "content", "message"),
    [
        ("variants.txt", "707-320\nA300B4\nF/A-18\n", "txt does not name the variant 'Yak-42'"),
        ("variants.txt", "707-320\n707-320\n", "variants.txt, line 2: the name is repeated"),
        ("images_box.txt", "1025794 1 1 12 10\n", "box.txt has no line for 3 of 4 images"),
        (
            "images_box.txt",
            AIRCRAFT["images_box.txt"].replace("3 90 1020 593", "3 90 1020"),
            "an image number and xmin, ymin, xmax, ymax",
        ),
        ("images_variant_test.txt", "2000001 Yak-42\n", "707-320, A300B4, F/A-18 have no test"),
        (
            "images_variant_test.txt",
            AIRCRAFT["images_variant_trainval.txt"],
            "images_family_test.txt has no line for 4 of 4",
        ),
        ("images_family_trainval.txt", "1025794 A\n", "trainval.txt has no line for 3 of 4 images"),
    ],
)
def test_tables_that_do_not_fit(tmp_path: Path, table: str, content: str, message: str) -> None:
    (build_aircraft(tmp_path) / "data" / table).write_text(content)
    with pytest.raises(UserError, match=message):
        read(tmp_path)
