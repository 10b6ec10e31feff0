from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from pcsearch.data.catalog import DataOptions, open_dataset
from pcsearch.data.dataset import Dataset, Part
from pcsearch.data.prepared import prepare_training
from pcsearch.errors import UserError
from tests.data.image_files import noise, save_classes
from tests.data.test_duplicates import picture

COUNTS = {"gull": 10, "heron": 7, "tern": 3}


def read(folder: Path, **options: object) -> Dataset:
    return open_dataset("images", replace(DataOptions(images=folder), **options))


def names(part: Part | None) -> list[str]:
    assert part is not None
    return [part.images.name(i) for i in range(len(part.images))]


def test_flat_folder_gets_a_stratified_test_part(tmp_path: Path) -> None:
    save_classes(tmp_path, COUNTS)
    dataset = read(tmp_path)
    assert dataset.class_names == ("gull", "heron", "tern")
    assert dataset.num_classes == 3
    assert dataset.given_val is None
    assert dataset.test is not None
    assert np.bincount(dataset.test.labels).tolist() == [2, 1, 1]
    assert np.bincount(dataset.train.labels).tolist() == [8, 6, 2]
    both = names(dataset.train) + names(dataset.test)
    assert sorted(both) == sorted(str(path) for path in tmp_path.rglob("*.jpg"))
    for part in (dataset.train, dataset.test):
        for index, label in enumerate(part.labels):
            assert Path(part.images.name(index)).parent.name == dataset.class_names[label]


def test_held_out_test_depends_on_seed_and_fraction_alone(tmp_path: Path) -> None:
    save_classes(tmp_path, COUNTS)
    first = read(tmp_path)
    assert names(read(tmp_path).test) == names(first.test)
    assert names(read(tmp_path, split_seed=1).test) != names(first.test)
    half = read(tmp_path, test_fraction=0.5).test
    assert half is not None
    assert np.bincount(half.labels).tolist() == [5, 4, 1]


@pytest.mark.parametrize("val", ["val", "valid", "Validation"])
def test_given_parts_are_used(tmp_path: Path, val: str) -> None:
    save_classes(tmp_path / "Train", {"b": 2, "a": 3}, seed=0)
    save_classes(tmp_path / val, {"a": 1, "b": 1}, seed=1)
    save_classes(tmp_path / "testing", {"a": 2, "b": 1}, seed=2)
    dataset = read(tmp_path)
    assert dataset.class_names == ("a", "b")
    assert dataset.given_val is not None
    assert dataset.given_val.tolist() == [5, 6]
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 0, 1]
    assert [name for name in names(dataset.train) if f"/{val}/" in name] == (
        names(dataset.train)[5:]
    )
    assert all("/testing/" in name for name in names(dataset.test))


def test_validation_given_but_no_test(tmp_path: Path) -> None:
    save_classes(tmp_path / "train", {"a": 2, "b": 5}, seed=0)
    save_classes(tmp_path / "val", {"a": 1, "b": 1}, seed=1)
    dataset = read(tmp_path)
    assert dataset.train.labels.tolist() == [0, 1, 1, 1, 1, 0, 1]
    assert dataset.given_val is not None
    assert dataset.given_val.tolist() == [5, 6]
    assert all("/train/" in name for name in names(dataset.test))


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    save_classes(tmp_path, {"a": 3, "b": 3})
    (tmp_path / "a" / ".hidden.jpg").write_bytes(b"x")
    (tmp_path / "a" / "notes.txt").write_text("x")
    (tmp_path / ".git").mkdir()
    (tmp_path / "README.md").write_text("x")
    (tmp_path / "b" / "deeper").mkdir()
    noise(9, 9, 1).save(tmp_path / "b" / "deeper" / "UPPER.JPEG")
    dataset = read(tmp_path)
    assert dataset.test is not None
    assert len(dataset.train.labels) + len(dataset.test.labels) == 7


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    save_classes(tmp_path, {"bus": 4, "test": 4, "train": 4})
    assert read(tmp_path).class_names == ("bus", "test", "train")


def test_class_selection(tmp_path: Path) -> None:
    save_classes(tmp_path, COUNTS)
    dataset = read(tmp_path, classes=("TERN", 1))
    assert dataset.class_names == ("gull", "tern")
    assert set(dataset.train.labels.tolist()) == {0, 1}
    with pytest.raises(UserError, match='did you mean "heron"'):
        read(tmp_path, classes=("herron", 1))


def test_key_follows_the_files(tmp_path: Path) -> None:
    save_classes(tmp_path / "one", COUNTS)
    first = read(tmp_path / "one").train.images.key
    assert read(tmp_path / "one").train.images.key == first
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    # names, sizes and times are copied too, but the pixels need not be the same
    assert read(tmp_path / "copy").train.images.key != first
    (tmp_path / "link").symlink_to(tmp_path / "one")
    assert read(tmp_path / "link").train.images.key == first
    path = Path(names(read(tmp_path / "one").train)[0])
    os.utime(path, ns=(0, 0))
    assert read(tmp_path / "one").train.images.key != first


def test_no_folder_named() -> None:
    with pytest.raises(UserError, match="--images"):
        open_dataset("images", DataOptions())


def refuse(folder: Path, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(folder)


def test_unusable_folders(tmp_path: Path) -> None:
    refuse(tmp_path / "missing", "there is no folder .*missing")
    (tmp_path / "file").write_text("")
    refuse(tmp_path / "file", "is a file, not a folder")
    (tmp_path / "empty").mkdir()
    refuse(tmp_path / "empty", "no images in sub-folders")
    (tmp_path / "flat").mkdir()
    noise(9, 9, 0).save(tmp_path / "flat" / "a.png")
    refuse(tmp_path / "flat", "no images in sub-folders")
    (tmp_path / "text" / "a").mkdir(parents=True)
    (tmp_path / "text" / "a" / "a.txt").write_text("")
    refuse(tmp_path / "text", "no images in sub-folders")


def test_one_class(tmp_path: Path) -> None:
    save_classes(tmp_path / "one", {"gull": 5})
    refuse(tmp_path / "one", r"only one class, gull; at least two are needed\.$")
    save_classes(tmp_path / "above" / "birds", COUNTS)
    refuse(tmp_path / "above", "Did you mean .*above/birds")


def test_empty_class(tmp_path: Path) -> None:
    save_classes(tmp_path, COUNTS | {"wren": 0})
    refuse(tmp_path, "wren holds no images")


def test_too_few_images(tmp_path: Path) -> None:
    save_classes(tmp_path / "flat", {"a": 5, "b": 2, "c": 1})
    refuse(tmp_path / "flat", r"b \(2\), c \(1\).*train on, one to validate on, one to test on")
    save_classes(tmp_path / "parts" / "train", {"a": 5, "b": 1})
    save_classes(tmp_path / "parts" / "test", {"a": 5, "b": 1}, seed=1)
    refuse(tmp_path / "parts", r"b \(1\)\. .*train on, one to validate on: ")
    save_classes(tmp_path / "parts" / "val", {"a": 1, "b": 1}, seed=2)
    assert len(read(tmp_path / "parts").train.labels) == 8


@pytest.mark.parametrize("part", ["val", "test"])
def test_classes_must_agree(tmp_path: Path, part: str) -> None:
    save_classes(tmp_path / "train", {"a": 3, "b": 3, "c": 3})
    save_classes(tmp_path / part, {"a": 1, "b": 1}, seed=1)
    refuse(tmp_path, f"{part} has no images of c, but .*train has these classes")
    save_classes(tmp_path / part, {"c": 1, "d": 1}, seed=2)
    refuse(tmp_path, f"train has no images of d, but .*{part} has these classes")
    (tmp_path / "train" / "d").mkdir()
    refuse(tmp_path, f"train has no images of d, but .*{part} has these classes")


def test_only_the_chosen_classes_must_agree(tmp_path: Path) -> None:
    save_classes(tmp_path / "train", {"a": 3, "b": 3, "c": 3})
    save_classes(tmp_path / "test", {"a": 1, "b": 1, "d": 1}, seed=1)
    (tmp_path / "train" / "e").mkdir()
    dataset = read(tmp_path, classes=("a", "b"))
    assert dataset.class_names == ("a", "b")
    assert dataset.test is not None
    assert dataset.test.labels.tolist() == [0, 1]
    with pytest.raises(UserError, match=r"test has no images of c, but .*train has"):
        read(tmp_path, classes=("a", "c"))
    with pytest.raises(UserError, match="e holds no images"):
        read(tmp_path, classes=("a", "e"))


def test_folders_named_by_numbers(tmp_path: Path) -> None:
    save_classes(tmp_path, {str(month): 3 for month in range(1, 13)})
    assert read(tmp_path, classes=(1, 2, 3)).class_names == ("1", "2", "3")


def test_images_in_unreadable_formats_are_named(tmp_path: Path) -> None:
    save_classes(tmp_path / "images" / "train", COUNTS)
    save_classes(tmp_path / "images" / "test", COUNTS, seed=1)
    (tmp_path / "images" / "train" / "gull" / "phone.HEIC").write_bytes(b"x")
    dataset = read(tmp_path / "images")
    with pytest.raises(UserError, match=r"phone.HEIC \(.heic files are not supported: convert"):
        prepare_training(dataset, 8, tmp_path / "cache")
    skipped = prepare_training(dataset, 8, tmp_path / "cache", on_bad_image="skip")
    assert len(skipped.labels) == sum(COUNTS.values())
    assert len(skipped.store.bad) == 1


def test_doubtful_layouts(tmp_path: Path) -> None:
    save_classes(tmp_path / "a" / "test", COUNTS)
    save_classes(tmp_path / "a", COUNTS)
    refuse(tmp_path / "a", "has test/ but no train/")
    save_classes(tmp_path / "b" / "train", COUNTS)
    save_classes(tmp_path / "b", {"wren": 2})
    refuse(tmp_path / "b", "wren holds images beside train/")
    save_classes(tmp_path / "c" / "train", COUNTS)
    save_classes(tmp_path / "c", {"test": 2})
    refuse(tmp_path / "c", "test holds images, but no class folders")
    save_classes(tmp_path / "d" / "train", COUNTS)
    save_classes(tmp_path / "d" / "val", COUNTS)
    save_classes(tmp_path / "d" / "valid", COUNTS)
    refuse(tmp_path / "d", "has both val/ and valid/")


@pytest.mark.parametrize("part", ["val", "test"])
def test_parts_must_not_share_files(tmp_path: Path, part: str) -> None:
    save_classes(tmp_path / "train", COUNTS)
    (tmp_path / part).symlink_to(tmp_path / "train")
    refuse(tmp_path, "is the same file as")
    (tmp_path / part).unlink()
    save_classes(tmp_path / part, COUNTS, seed=1)
    assert read(tmp_path).num_classes == 3
    os.link(tmp_path / "train" / "tern" / "00.jpg", tmp_path / part / "tern" / "99.jpg")
    refuse(tmp_path, r"tern/99\.jpg is the same file as .*train/tern/00\.jpg")


def test_spaces_and_non_ascii_names(tmp_path: Path) -> None:
    save_classes(tmp_path / "my birds é", {"grèbe huppé": 3, "蒼鷺": 3})
    dataset = read(tmp_path / "my birds é")
    assert dataset.class_names == ("grèbe huppé", "蒼鷺")
    assert dataset.train.images.image(0).size == (24, 20)


def save_copies(folder: Path) -> list[set[str]]:
    """Of two classes with nine images each, some are copies; returns which belong together."""
    save_classes(folder, {"a": 9, "b": 9})
    together = [{"a/00.jpg", "a/03.jpg", "a/05.jpg"}, {"b/01.jpg", "b/02.jpg"}]
    for names in together:
        first, *others = sorted(names)
        for name in others:
            (folder / name).write_bytes((folder / first).read_bytes())
    return together


def test_copies_of_a_file_stay_on_one_side(tmp_path: Path) -> None:
    together = save_copies(tmp_path)
    sides = set()
    for seed in range(12):
        dataset = read(tmp_path, split_seed=seed)
        test = {str(Path(name).relative_to(tmp_path)) for name in names(dataset.test)}
        train = [str(Path(name).relative_to(tmp_path)) for name in names(dataset.train)]
        groups = dataset.train.groups
        for number, copies in enumerate(together):
            assert copies <= test or not copies & test
            sides.add((number, copies <= test))
            if not copies & test:
                assert groups is not None
                assert len({groups[train.index(name)] for name in copies}) == 1
        if groups is not None:
            assert len(set(groups.tolist())) == len(train) - sum(
                len(copies) - 1 for copies in together if not copies & test
            )
    assert {(1, True), (1, False)} <= sides


def save_pictures(folder: Path) -> list[set[str]]:
    """Two classes of eight pictures with the detail of photographs; some are shown twice, in other
    files. Returns which belong together."""
    for label, name in enumerate("ab"):
        (folder / name).mkdir(parents=True)
        for index in range(8):
            picture(100 * label + index, 320, 250).save(folder / name / f"{index}.png")
    picture(1).save(folder / "a" / "smaller.jpg", quality=60)
    ImageOps.mirror(picture(1, 320, 250)).save(folder / "a" / "mirrored.jpg", quality=90)
    picture(105, 640, 500).convert("CMYK").save(folder / "b" / "larger.jpg", quality=85)
    return [{"a/1.png", "a/smaller.jpg", "a/mirrored.jpg"}, {"b/5.png", "b/larger.jpg"}]


def held_out(folder: Path, seed: int, **options: object) -> set[str]:
    dataset = read(folder, split_seed=seed, **options)
    return {str(Path(name).relative_to(folder)) for name in names(dataset.test)}


def test_pictures_that_are_stored_twice_stay_on_one_side(tmp_path: Path) -> None:
    together = save_pictures(tmp_path)
    sides, divided = set(), 0
    for seed in range(12):
        test = held_out(tmp_path, seed)
        for number, copies in enumerate(together):
            assert copies <= test or not copies & test, seed
            sides.add((number, copies <= test))
        ignoring = held_out(tmp_path, seed, near_duplicates="ignore")
        divided += any(copies & ignoring and copies - ignoring for copies in together)
    assert divided, "the twelve seeds must be able to tell the difference"
    assert {(1, True), (1, False)} <= sides


def test_what_is_in_val_too_is_not_held_out(tmp_path: Path) -> None:
    """A picture to validate on is one to train on in confirm: its copy is no test image."""
    save_pictures(tmp_path / "train")
    for name in ("a/1.png", "b/2.png", "b/3.png"):
        copy = tmp_path / "val" / Path(name).with_suffix(".jpg")
        copy.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(tmp_path / "train" / name) as original:
            ImageOps.mirror(original).save(copy, quality=70)
    bound = {"a/1.png", "a/smaller.jpg", "a/mirrored.jpg", "b/2.png", "b/3.png"}
    test = [held_out(tmp_path, seed) for seed in range(12)]
    assert all(test)
    assert not any(f"train/{name}" in held for held in test for name in bound)
    assert any(f"train/{name}" in held_out(tmp_path, seed, near_duplicates="ignore")
               for seed in range(12) for name in bound)  # fmt: skip


def test_a_class_of_one_picture_is_held_out_all_the_same(tmp_path: Path) -> None:
    for index in range(6):
        for name, seed in (("a", 1), ("b", 100 + index)):
            (tmp_path / name).mkdir(exist_ok=True)
            picture(seed).save(tmp_path / name / f"{index}.jpg", quality=60 + 5 * index)
    test = held_out(tmp_path, 0)
    assert len([name for name in test if name.startswith("a/")]) == 1


def test_a_division_is_told_from_another_one_of_the_same_size(tmp_path: Path) -> None:
    """Labels and counts are the same then: the names of the files must tell."""
    save_pictures(tmp_path)
    division: dict[str, set[str]] = {}
    for seed in range(6):
        dataset = read(tmp_path, split_seed=seed)
        test = {str(Path(name).relative_to(tmp_path)) for name in names(dataset.test)}
        assert division.setdefault(dataset.held_out, test) == test
    assert len({frozenset(test) for test in division.values()}) == len(division) > 1
    assert all(len(digest) == 16 for digest in division)
    shutil.move(tmp_path / "a", tmp_path / "elsewhere" / "a")
    shutil.move(tmp_path / "b", tmp_path / "elsewhere" / "b")
    assert read(tmp_path / "elsewhere", split_seed=5).held_out == dataset.held_out


def test_thumbnails_are_made_once_and_their_progress_is_told(tmp_path: Path) -> None:
    save_pictures(tmp_path / "birds")
    told: list[tuple[int, int]] = []
    options = {"cache": tmp_path / "cache", "progress": lambda *at: told.append(at)}
    first = held_out(tmp_path / "birds", 0, **options)
    assert told[-1] == (19, 19)
    assert len(list((tmp_path / "cache").glob("*.json"))) == 1
    told.clear()
    assert held_out(tmp_path / "birds", 0, **options) == first
    assert told == []


def test_images_that_cannot_be_read_are_nobodys_copy(tmp_path: Path) -> None:
    """They are told when the images are decoded; until then each of them is for itself."""
    save_pictures(tmp_path)
    broken = {f"a/{number}.jpg" for number in range(8, 14)}
    for name in broken:
        (tmp_path / name).write_bytes(b"no picture " + name.encode())
    divided = [held_out(tmp_path, seed) & broken for seed in range(12)]
    assert any(0 < len(test) < len(broken) for test in divided)


def test_a_folder_without_any_readable_image(tmp_path: Path) -> None:
    for name in ("a/1.jpg", "a/2.jpg", "a/3.jpg", "b/1.jpg", "b/2.jpg", "b/3.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"no picture " + name.encode())
    refuse(tmp_path, "6 of 6 images cannot be read")
    listed = read(tmp_path, half_unpacked="list")  # for `verify`, which tells of each
    assert len(names(listed.train)) + len(names(listed.test)) == 6


def test_without_copies_there_are_no_groups(tmp_path: Path) -> None:
    save_classes(tmp_path, COUNTS)
    dataset = read(tmp_path)
    assert dataset.train.groups is None
    assert dataset.test is not None
    assert dataset.test.groups is None


def test_copies_where_parts_are_given(tmp_path: Path) -> None:
    save_copies(tmp_path / "train")
    save_classes(tmp_path / "val", {"a": 2, "b": 2}, seed=1)
    shutil.copytree(tmp_path / "train", tmp_path / "test")  # told by verify, no error here
    dataset = read(tmp_path)
    assert dataset.train.groups is not None
    groups = dataset.train.groups.tolist()
    assert [groups.index(group) for group in groups] == [
        *(0, 1, 2, 0, 4, 0, 6, 7, 8),
        *(9, 10, 10, 12, 13, 14, 15, 16, 17),
        *(18, 19, 20, 21),
    ]


def test_links_that_lead_nowhere_or_back_are_passed_over(tmp_path: Path) -> None:
    save_classes(tmp_path / "own", {"a": 4, "b": 4})
    save_classes(tmp_path / "elsewhere", {"c": 4})
    for link, target in {
        "own/x": "x",
        "own/dot": ".",
        "own/up": "..",
        "own/ring": "a/ring",
        "own/a/ring": "../ring",
        "own/a/self.jpg": "self.jpg",
        "own/a/back": "..",
        "own/a/here": ".",
        "own/b/root": str(tmp_path / "own"),
        "own/gone": "nowhere",
        "own/c": "../elsewhere/c",
    }.items():
        (tmp_path / link).symlink_to(target)
    dataset = open_dataset("images", DataOptions(images=tmp_path / "own", near_duplicates="ignore"))
    assert dataset.class_names == ("a", "b", "c")
    assert dataset.test is not None
    found = [*names(dataset.train), *names(dataset.test)]
    assert len(found) == 13
    assert [name for name in found if name.endswith("self.jpg")] == [
        str(tmp_path / "own/a/self.jpg")
    ]


def test_a_class_folder_whose_name_is_not_utf8(tmp_path: Path) -> None:
    """An old zip file leaves such names: here Latin-1."""
    save_classes(tmp_path, COUNTS)
    (tmp_path / "gull").rename(tmp_path / os.fsdecode(b"m\xf6we"))
    dataset = read(tmp_path)
    assert dataset.class_names == ("heron", r"m\udcf6we", "tern")
    assert np.bincount(dataset.train.labels).tolist() == [6, 8, 2]
    dataset.train.images.image(6)  # its file is found under its own name
    for choice in (r"m\udcf6we", os.fsdecode(b"m\xf6we"), 2):
        assert read(tmp_path, classes=("tern", choice)).class_names == (r"m\udcf6we", "tern")
