from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.datasets import FGVCAircraft

from pcsearch.data.catalog import DATASETS, DataOptions, open_dataset
from pcsearch.data.dataset import Dataset
from pcsearch.data.layouts.official import (
    Listing,
    assemble,
    boxes_of_corners,
    dataset_folder,
    find_place,
    labels_of_numbers,
    level_of,
)
from pcsearch.errors import UserError
from tests.data.datasets.layouts import (
    build_aircraft,
    build_cars,
    build_cars_in_one_folder,
    build_dogs,
    build_flowers102,
    build_nabirds,
)
from tests.data.image_files import noise

BUILDERS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "cars": ("cars", build_cars),
    "cars in one folder": ("cars", build_cars_in_one_folder),
    "aircraft": ("aircraft", build_aircraft),
    "nabirds": ("nabirds", build_nabirds),
    "flowers102": ("flowers102", build_flowers102),
    "dogs": ("dogs", build_dogs),
}
IDS = ("cars", "aircraft", "nabirds", "flowers102", "dogs")
TOTALS = {"cars": 16185, "aircraft": 10000, "nabirds": 48562, "flowers102": 8189, "dogs": 20580}
LAYOUTS = pytest.mark.parametrize("layout", BUILDERS)


def read(dataset_id: str, root: Path) -> Dataset:
    options = DataOptions(root=root)
    return open_dataset(
        dataset_id, replace(options, classes=(1, 102)) if dataset_id == "flowers102" else options
    )


def snapshot(root: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in root.rglob("*")}


@LAYOUTS
def test_reading_writes_nothing(tmp_path: Path, layout: str) -> None:
    dataset_id, build = BUILDERS[layout]
    build(tmp_path)
    before = snapshot(tmp_path)
    read(dataset_id, tmp_path).train.images.image(0)
    assert snapshot(tmp_path) == before


@LAYOUTS
def test_spaces_and_foreign_letters_in_the_path(tmp_path: Path, layout: str) -> None:
    dataset_id, build = BUILDERS[layout]
    root = tmp_path / "Bilder – Vögel (1)"
    build(root)
    dataset = read(dataset_id, root)
    assert dataset.test is not None
    for part in (dataset.train, dataset.test):
        copy = pickle.loads(pickle.dumps(part.images))
        assert copy.key == part.images.key
        assert [copy.image(row).size for row in range(len(copy))] == [(12, 10)] * len(copy)


@LAYOUTS
def test_one_lost_image_is_told_when_it_is_read(tmp_path: Path, layout: str) -> None:
    dataset_id, build = BUILDERS[layout]
    build(tmp_path)
    Path(read(dataset_id, tmp_path).train.images.name(0)).unlink()
    images = read(dataset_id, tmp_path).train.images
    with pytest.raises(OSError, match="no such file"):
        images.image(0)


@LAYOUTS
def test_an_archive_unpacked_one_folder_too_deep_is_found(tmp_path: Path, layout: str) -> None:
    dataset_id, build = BUILDERS[layout]
    inner = build(tmp_path / "other")
    for place in (DATASETS[dataset_id].folder, "downloads"):
        root = tmp_path / f"in {place}"
        deep = root / place / inner.name
        deep.parent.mkdir(parents=True)
        inner.rename(deep)
        with pytest.raises(UserError) as caught:
            read(dataset_id, root)
        assert f"It is in {deep}: give this folder (data.root, or --root)." in str(caught.value)
        assert read(dataset_id, deep).num_classes == read(dataset_id, deep.parent).num_classes
        inner = deep


def test_missing_training_and_test_images_are_told_together(tmp_path: Path) -> None:
    files = {part: [f"{part}/{index}.jpg" for index in range(40)] for part in ("train", "test")}
    for name in files:
        (tmp_path / name).mkdir()
    train, test = (Listing(own, np.arange(40, dtype=np.int64) % 2) for own in files.values())
    with pytest.raises(UserError) as caught:
        assemble("cub200", tmp_path, ["a", "b"], train, test, DataOptions())
    assert "lacks 40 of 40 training images (train/0.jpg, ...)" in str(caught.value)
    assert "lacks 40 of 40 test images (test/0.jpg, ...)" in str(caught.value)
    listed = assemble("x", tmp_path, ["a", "b"], train, test, DataOptions(half_unpacked="list"))
    assert len(listed.train.labels) == 40


@pytest.mark.parametrize("dataset_id", IDS)
def test_wrong_root(tmp_path: Path, dataset_id: str) -> None:
    entry = DATASETS[dataset_id]
    with pytest.raises(UserError) as caught:
        read(dataset_id, tmp_path / "nowhere")
    message = str(caught.value)
    assert f"{entry.title} is not at {tmp_path / 'nowhere' / entry.folder}, and there is" in message
    assert f"there is no folder {tmp_path / 'nowhere'}." in message
    assert f"give the folder that holds {entry.folder} (data.root, or --root)." in message
    assert ".." not in message
    assert "pcsearch data get" in message or entry.by_hand in message


@pytest.mark.parametrize("dataset_id", IDS)
def test_official_counts(dataset_id: str) -> None:
    entry = DATASETS[dataset_id]
    assert sum(entry.images.values()) == TOTALS[dataset_id]
    assert f"{TOTALS[dataset_id]:,} photographs" in entry.description
    assert all(f"{count:,}" in entry.description for count in entry.images.values())
    assert entry.citation
    assert entry.terms
    assert entry.homepage.startswith("http")
    assert any(archive.urls for archive in entry.archives) != bool(entry.by_hand)


def test_samples_per_class_of_table_1() -> None:
    per_class = {name: DATASETS[name].samples_per_class for name in ("cub200", *IDS)}
    assert per_class == {
        "cub200": 29.97,
        "cars": 41.55,
        "aircraft": 100,
        "nabirds": 43.5,
        "flowers102": 10,
        "dogs": 100,
    }
    for name in ("cub200", "cars", "flowers102", "dogs"):
        entry = DATASETS[name]
        assert entry.images["train"] / (entry.classes or 0) == pytest.approx(
            per_class[name], abs=0.005
        )


def test_archives() -> None:
    for entry in (DATASETS[name] for name in ("cub200", *IDS)):
        for archive in entry.archives:
            if entry.by_hand:
                assert archive.urls == ()
                continue
            assert archive.urls[0].endswith(f"/{archive.file}")
            assert archive.checksum is not None
            assert re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", archive.checksum)
            assert archive.unpack_in in ("", entry.folder)
    assert DATASETS["aircraft"].archives[0].urls == (FGVCAircraft._URL,)


def test_level_of() -> None:
    entry = DATASETS["aircraft"]
    assert level_of(entry, DataOptions()) == "variant"
    assert level_of(entry, DataOptions(levels={"aircraft": "family", "nabirds": "x"})) == "family"
    assert level_of(DATASETS["cars"], DataOptions()) == ""
    with pytest.raises(UserError, match=r'no level "order" \(its levels: variant, family, man'):
        level_of(entry, DataOptions(levels={"aircraft": "order"}))
    with pytest.raises(UserError, match=r"data\.levels: cars has no class hierarchy"):
        level_of(DATASETS["cars"], DataOptions(levels={"cars": "model"}))


@settings(deadline=None)
@given(st.lists(st.integers(0, 8), min_size=1, max_size=20))
def test_labels_from_one_or_zero(labels: list[int]) -> None:
    everything = [*range(9), *labels]  # with all classes there, both ways are told apart
    for first in (0, 1):
        numbers = [label + first for label in everything]
        assert labels_of_numbers(numbers, 9, Path("x")).tolist() == everything


@pytest.mark.parametrize("numbers", [[0, 3], [-1, 2], [1, 4]])
def test_labels_out_of_range(numbers: list[int]) -> None:
    low, high = min(*numbers, 1), max(numbers)
    with pytest.raises(UserError, match=f"x.txt: class numbers go from {low} to {high}, .* 3 cl"):
        labels_of_numbers(numbers, 3, Path("x.txt"))


def test_boxes_of_corners() -> None:
    boxes = boxes_of_corners(np.array([[1, 1, 1, 1], [3, 5, 12, 10]]))
    assert boxes.tolist() == [[0, 0, 1, 1], [2, 4, 10, 6]]
    assert boxes.dtype == np.float32


def test_places(tmp_path: Path) -> None:
    (tmp_path / "kit").mkdir()
    (tmp_path / "kit" / "a.txt").touch()
    assert find_place(tmp_path, ("a.txt", "kit/a.txt")) == "kit/a.txt"
    assert find_place(tmp_path, ("a.txt/", "kit")) is None
    entry = DATASETS["cub200"]
    assert dataset_folder(entry, tmp_path, [("a.txt", "kit/a.txt"), "kit/"]) == tmp_path
    with pytest.raises(UserError, match=r"not complete at .*: b\.txt missing"):
        dataset_folder(entry, tmp_path, ["kit/", ("b.txt", "kit/b.txt")])


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for row in range(6):
        noise(4, 5, row).save(tmp_path / f"{row}.png")
    return tmp_path


def listing(rows: list[int], labels: list[int]) -> Listing:
    return Listing([f"{row}.png" for row in rows], np.array(labels))


def test_assemble_renumbers_given_val_and_ancestors(pictures: Path) -> None:
    dataset = assemble(
        "x",
        pictures,
        ["a", "b", "c"],
        listing([0, 1, 2, 3], [0, 1, 2, 2]),
        listing([4, 5], [2, 1]),
        DataOptions(classes=(30, 20)),
        numbers=[10, 20, 30],
        given_val=np.array([0, 3]),
        ancestors=[("A",), ("B",), ("C",)],
    )
    assert dataset.class_names == ("b", "c")
    assert dataset.train.labels.tolist() == [0, 1, 1]
    assert dataset.given_val is not None
    assert dataset.given_val.tolist() == [2]
    assert dataset.ancestors == (("B",), ("C",))


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (listing([0, 1], [0, 0]), listing([2, 3], [0, 1]), "class b has no training images"),
        (listing([0, 1], [0, 1]), listing([2, 3], [0, 0]), "class b has no test images"),
        (listing([0, 1], [0, 1]), listing([1, 2], [0, 1]), r"1 images .* \(1\.png, \.\.\.\)"),
    ],
)
def test_assemble_refuses(pictures: Path, train: Listing, test: Listing, message: str) -> None:
    with pytest.raises(UserError, match=message):
        assemble("x", pictures, ["a", "b"], train, test, DataOptions())


def test_many_missing_images_are_a_half_unpacked_archive(pictures: Path) -> None:
    train = listing(list(range(6, 40)), [0, 1] * 17)
    with pytest.raises(UserError, match=r"lacks 34 of 34 training images \(6\.png, .*unpack"):
        assemble("x", pictures, ["a", "b"], train, listing([0, 1], [0, 1]), DataOptions())
