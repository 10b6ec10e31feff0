from __future__ import annotations

import csv
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pcsearch.data.catalog import DataOptions, open_dataset
from pcsearch.data.verify import VerifyReport, inspect, verify_dataset, write_manifest
from pcsearch.errors import UserError
from tests.data.image_files import CUB_ROOT, save_classes
from tests.data.test_duplicates import picture

PARTS = ("train", "val", "test")
CLASSES = ("gull", "tern")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A sound dataset: 2 classes, 11 images to train on, 2 to validate on, 2 to test on."""
    seed = 0
    for part, count in zip(PARTS, (11, 2, 2), strict=True):
        for name in CLASSES:
            folder = tmp_path / "birds" / part / name
            folder.mkdir(parents=True)
            for index in range(count):
                picture(seed, 120, 90).save(folder / f"{index}.jpg", quality=92)
                seed += 1
    return tmp_path / "birds"


def look(root: Path, **options: object) -> VerifyReport:
    report = verify_dataset("images", DataOptions(images=root, **options), workers=2)
    json.dumps(report.to_json())
    return report


def train(root: Path, name: str) -> Path:
    return root / "train" / "gull" / name


def test_sound_dataset(root: Path) -> None:
    told: list[tuple[str, int, int]] = []
    report = verify_dataset(
        "images", DataOptions(images=root), workers=2, progress=lambda *step: told.append(step)
    )
    assert report.ok
    assert (report.problems, report.warnings) == ((), ())
    assert [(part.part, part.images) for part in report.parts] == [
        ("train", 22),
        ("val", 4),
        ("test", 4),
    ]
    assert report.images == 30
    assert (report.missing, report.undecodable, report.duplicates) == ((), (), ())
    assert report.oddities == {}
    assert report.boxes_outside == ()
    assert (report.balance.least, report.balance.most, report.balance.mean) == (13, 13, 13.0)
    assert told[-1] == ("test images", 4, 4)
    assert ("training images", 26, 26) in told
    assert report.to_json()["ok"] is True


def test_all_undecodable_files_are_named(root: Path) -> None:
    whole = train(root, "0.jpg").read_bytes()
    train(root, "0.jpg").write_bytes(whole[: len(whole) // 2])
    train(root, "1.jpg").write_bytes(b"")
    train(root, "2.jpg").write_bytes(b"<html>not found</html>")
    report = look(root)
    assert not report.ok
    assert {(Path(p.name).name, p.part) for p in report.undecodable} == {
        ("0.jpg", "train"),
        ("1.jpg", "train"),
        ("2.jpg", "train"),
    }
    reasons = {Path(p.name).name: p.reason for p in report.undecodable}
    assert "truncated" in reasons["0.jpg"]
    assert reasons["1.jpg"] == "the file is empty"
    assert reasons["2.jpg"] == "a web page, not the file itself: download it again"
    assert report.problems[0].startswith("3 images undecodable")
    assert report.duplicates == ()


def test_oddities_are_counted_and_no_problem(root: Path) -> None:
    photo = Image.open(train(root, "0.jpg"))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(train(root, "1.jpg")).save(train(root, "1.jpg"), exif=exif, quality=92)
    Image.open(train(root, "2.jpg")).convert("CMYK").save(train(root, "2.jpg"))
    Image.open(train(root, "3.jpg")).convert("L").save(train(root, "3.jpg"))
    grey = np.asarray(Image.open(train(root, "4.jpg")).convert("L")).astype(np.uint16) << 8
    Image.fromarray(grey).save(train(root, "a.png"))
    frames = [picture(seed, 60, 50).convert("P") for seed in (900, 901)]
    frames[0].save(train(root, "b.gif"), save_all=True, append_images=frames[1:])
    alpha = picture(910, 60, 50)
    alpha.putalpha(128)
    alpha.save(train(root, "c.png"))
    train(root, "4.jpg").unlink()
    photo.close()
    report = look(root)
    assert report.ok
    assert report.undecodable == ()
    assert report.duplicates == ()
    assert report.oddities == {
        "EXIF-rotated": 1,
        "CMYK": 1,
        "grey": 1,
        "16-bit": 1,
        "palette": 1,
        "animated": 1,
        "alpha": 1,
    }


def test_exact_and_near_copies_across_parts(root: Path) -> None:
    (root / "test/gull/copy.jpg").write_bytes(train(root, "0.jpg").read_bytes())
    again = Image.open(train(root, "1.jpg")).resize((110, 80), Image.Resampling.LANCZOS)
    again.save(root / "test/gull/again.jpg", quality=80)
    (root / "val/gull/copy.jpg").write_bytes(train(root, "2.jpg").read_bytes())
    (root / "train/gull/copy.jpg").write_bytes(train(root, "3.jpg").read_bytes())
    report = look(root)
    assert not report.ok
    found = {(pair.kind, pair.parts, *sorted(Path(n).name for n in pair.names)): pair
             for pair in report.duplicates}  # fmt: skip
    assert set(found) == {
        ("exact", ("train", "test"), "0.jpg", "copy.jpg"),
        ("near", ("train", "test"), "1.jpg", "again.jpg"),
        ("exact", ("train", "val"), "2.jpg", "copy.jpg"),
        ("exact", ("train", "train"), "3.jpg", "copy.jpg"),
    }
    assert len(report.leaks) == 3
    assert report.label_conflicts == ()
    assert len(report.problems) == 1
    assert report.problems[0].startswith("2 images of test in train too")
    assert any("val in train too" in warning for warning in report.warnings)


def test_one_picture_with_two_labels(root: Path) -> None:
    (root / "train/tern/same.jpg").write_bytes(train(root, "5.jpg").read_bytes())
    report = look(root)
    (pair,) = report.duplicates
    assert not pair.same_label
    assert pair.labels == ("gull", "tern")
    assert report.label_conflicts == (pair,)
    assert any("two labels" in problem for problem in report.problems)
    assert not report.ok


def test_classes_with_few_images(root: Path) -> None:
    for index in range(4, 11):
        train(root, f"{index}.jpg").unlink()
    report = look(root)
    assert report.balance.few == (("gull", 6),)
    assert any("gull: 6" in warning for warning in report.warnings)


def cub_like(root: Path) -> Path:
    folder = root / "CUB_200_2011"
    names = [f"{c}/{i}.jpg" for c in ("001.Auk", "007.Tit") for i in range(12)]
    for seed, name in enumerate(names):
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(seed, 100, 80).save(path, quality=92)
    boxes = ["10 10 50 60"] * 24
    boxes[3], boxes[4] = "60 10 50 60", "50 20 50.5 60"
    tables = {
        "images": names,
        "image_class_labels": ["1"] * 12 + ["7"] * 12,
        "train_test_split": ["1"] * 11 + ["0"] + ["1"] * 11 + ["0"],
        "bounding_boxes": boxes,
    }
    for table, cells in tables.items():
        lines = [f"{i} {cell}\n" for i, cell in enumerate(cells, start=1)]
        (folder / f"{table}.txt").write_text("".join(lines))
    (folder / "classes.txt").write_text("1 001.Auk\n7 007.Tit\n")
    return root


def test_missing_file_box_outside_and_some_of_the_classes(tmp_path: Path) -> None:
    root = cub_like(tmp_path)
    assert verify_dataset("cub200", DataOptions(root=root)).problems == ()
    (root / "CUB_200_2011/images/001.Auk/7.jpg").unlink()
    report = verify_dataset("cub200", DataOptions(root=root), workers=1)
    assert [Path(p.name).name for p in report.missing] == ["7.jpg"]
    assert report.undecodable == ()
    assert not report.ok
    assert [Path(p.name).name for p in report.boxes_outside] == ["3.jpg"]
    assert "60 x" in report.boxes_outside[0].reason or "60, 10" in report.boxes_outside[0].reason
    assert report.warnings[0].startswith("2 of 200 classes are there")
    assert report.classes_in_all == 200


def test_all_missing_files_are_listed_of_a_half_unpacked_archive(tmp_path: Path) -> None:
    options = DataOptions(root=cub_like(tmp_path))
    images = tmp_path / "CUB_200_2011" / "images"
    for number in range(1, 11):
        (images / "001.Auk" / f"{number}.jpg").unlink()
    with pytest.raises(UserError, match="lacks 10 of 22 training images"):
        open_dataset("cub200", options)
    report = verify_dataset("cub200", options)
    assert [Path(p.name).name for p in report.missing] == [
        f"{number}.jpg" for number in range(1, 11)
    ]
    assert report.problems[0].startswith("10 images missing")
    shutil.rmtree(images / "001.Auk")
    with pytest.raises(UserError, match="lacks 1 of 2 image folders"):
        open_dataset("cub200", options)
    report = verify_dataset("cub200", options)
    assert [p.part for p in report.missing] == ["train"] * 11 + ["test"]
    assert report.problems[0].startswith("12 images missing")
    shutil.rmtree(images / "007.Tit")
    report = verify_dataset("cub200", options)
    assert len(report.missing) == report.images == 24
    json.dumps(report.to_json())
    images.rmdir()
    with pytest.raises(UserError, match="images/ missing"):
        verify_dataset("cub200", options)


def test_all_missing_files_of_a_manifest_are_listed(root: Path) -> None:
    path = root / "birds.csv"
    write_manifest(inspect("images", DataOptions(images=root)), path)
    options = DataOptions(manifest=path)
    shutil.rmtree(root / "train" / "gull")
    with pytest.raises(UserError, match=r"there is no file .*; 11 of 30 files are missing"):
        open_dataset("manifest", options)
    report = verify_dataset("manifest", options)
    assert len(report.missing) == 11
    assert report.problems[0].startswith("11 images missing")
    assert write_manifest(inspect("manifest", options), root / "rest.csv") == 19


def test_box_is_of_the_image_before_it_is_turned(tmp_path: Path) -> None:
    root = cub_like(tmp_path)
    path = root / "CUB_200_2011/images/001.Auk/4.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).save(path, exif=exif, quality=92)
    report = verify_dataset("cub200", DataOptions(root=root))
    assert [Path(p.name).name for p in report.boxes_outside] == ["3.jpg"]
    assert report.oddities == {"EXIF-rotated": 1}


def test_official_counts_that_disagree() -> None:
    assert verify_dataset("digits", DataOptions(classes=(3, 8))).ok
    report = verify_dataset("digits", DataOptions())
    assert [part.expected == part.images for part in report.parts] == [True, True]
    assert (report.ok, report.duplicates) == (True, ())


def test_what_the_reader_says_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        verify_dataset("images", DataOptions(images=tmp_path / "absent"))


def lines_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_manifest_keeps_official_parts_and_groups_copies(root: Path) -> None:
    train(root, "copy.jpg").write_bytes(train(root, "3.jpg").read_bytes())
    (root / "test/gull/leak.jpg").write_bytes(train(root, "3.jpg").read_bytes())
    train(root, "broken.jpg").write_bytes(b"")
    path = root / "birds.csv"
    assert write_manifest(inspect("images", DataOptions(images=root)), path) == 32
    lines = {line["path"]: line for line in lines_of(path)}
    assert len({line["group"] for line in lines.values()}) == 31
    assert lines["train/gull/copy.jpg"]["group"] == lines["train/gull/3.jpg"]["group"]
    assert lines["val/tern/0.jpg"]["split"] == "val"
    dataset = open_dataset("manifest", DataOptions(manifest=path))
    assert len(dataset.train.labels) == 27
    assert dataset.test is not None
    assert len(dataset.test.labels) == 5
    assert dataset.given_val is not None
    assert len(dataset.given_val) == 4


def test_manifest_of_a_held_out_test_part_holds_out_by_groups(root: Path) -> None:
    flat = root / "train"
    for index in range(8):
        (flat / "gull" / f"copy{index}.jpg").write_bytes(train(root, f"{index}.jpg").read_bytes())
    path = root / "lists" / "birds.csv"
    path.parent.mkdir()
    options = DataOptions(images=flat)
    assert write_manifest(inspect("images", options), path) == 30
    assert "split" not in lines_of(path)[0]
    assert Path(lines_of(path)[0]["path"]).is_absolute()
    for seed in range(4):
        manifest = replace(options, images=None, manifest=path, split_seed=seed)
        report = verify_dataset("manifest", manifest)
        assert len(report.duplicates) == 8
        assert report.leaks == ()


@pytest.mark.parametrize(
    "label",
    [
        "=cmd|' C calc'!A0",
        "+1+cmd|x",
        "@SUM(A1)",
        "-2+3",
        "'=a",
        "''=a",
        "-a",
        " =b",
        "\t=c",
        "'d",
        "e",
    ],
)
def test_no_cell_of_a_manifest_is_a_formula(label: str, tmp_path: Path) -> None:
    save_classes(tmp_path, {"other": 3, "x": 3})
    (tmp_path / "x").rename(tmp_path / label)
    path = tmp_path / "list.csv"
    write_manifest(inspect("images", DataOptions(images=tmp_path)), path)
    lines = lines_of(path)
    assert not [cell for line in lines for cell in line.values() if re.match(r"\s*[=+@-]", cell)]
    assert {line["path"].lstrip("'").partition("/")[0] for line in lines} >= {"other"}
    read = open_dataset("manifest", DataOptions(manifest=path, half_unpacked="refuse"))
    assert set(read.class_names) == {"other", label.strip()}
    assert all(Path(read.train.images.name(i)).is_file() for i in range(len(read.train.images)))


def test_manifest_of_names_that_are_not_utf8(root: Path) -> None:
    for part in ("train", "val", "test"):
        (root / part / "tern").rename(root / part / os.fsdecode(b"m\xf6we"))
    path = root / "birds.csv"
    count = write_manifest(inspect("images", DataOptions(images=root)), path)
    lines = [line for line in lines_of(path) if line["label"] == r"m\udcf6we"]
    assert lines
    assert all(line["path"].split("/")[1] == r"m\udcf6we" for line in lines)
    path.read_bytes().decode()
    again = inspect("manifest", DataOptions(manifest=path))
    assert len(again.scanned) == count
    assert [one.reason for one in again.scanned] == [None] * count
    assert r"m\udcf6we" in again.dataset.class_names


def test_manifest_of_images_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not made of image files"):
        write_manifest(inspect("digits", DataOptions()), tmp_path / "digits.csv")


def test_manifest_that_cannot_be_written(root: Path) -> None:
    inspected = inspect("images", DataOptions(images=root))
    with pytest.raises(UserError, match="there is no folder"):
        write_manifest(inspected, root / "absent" / "birds.csv")
    (root / "birds.csv").write_text("mine")
    with pytest.raises(UserError, match="exists already: choose another name"):
        write_manifest(inspected, root / "birds.csv")
    assert (root / "birds.csv").read_text() == "mine"


@pytest.mark.real
@pytest.mark.skipif(not (CUB_ROOT / "CUB_200_2011").is_dir(), reason="no real images here")
def test_photographs(tmp_path: Path) -> None:
    report = verify_dataset("cub200", DataOptions(root=CUB_ROOT, classes=(2, 26)))
    pairs = {
        (pair.parts, tuple(Path(name).stem for name in pair.names)) for pair in report.duplicates
    }
    assert pairs == {
        (("train", "test"), ("Bronzed_Cowbird_0074_24045", "Bronzed_Cowbird_0025_796213")),
        (("train", "train"), ("Laysan_Albatross_0065_809", "Laysan_Albatross_0096_673")),
    }
    assert not report.ok


def test_images_that_would_come_out_black_are_a_problem(root: Path) -> None:
    for part, count in (("train", 3), ("test", 1)):
        for index in range(count):
            grey = np.asarray(picture(900 + index, 60, 50).convert("L")).astype(np.uint16)
            Image.fromarray(grey * 16).save(root / part / "gull" / f"deep{index}.tif")
    report = look(root)
    assert not report.ok
    assert [re.sub(r" with.*", "", problem) for problem in report.problems[:2]] == [
        "3 of 29 images have 16-bit pixels",
        "1 of 5 images have 16-bit pixels",
    ]
    assert "Divide their values by 16" in report.problems[0]


def test_images_of_one_colour_and_of_few_values_are_told(root: Path) -> None:
    Image.new("RGB", (50, 40), (200, 30, 30)).save(train(root, "one.png"))
    dim = np.asarray(picture(901, 60, 50)) // 16  # 0 to 15 of 255
    Image.fromarray(dim).save(train(root, "dim.png"))
    report = look(root)
    assert report.ok
    assert [Path(one.name).name for one in report.one_colour] == ["one.png"]
    assert [Path(one.name).name for one in report.low_contrast] == ["dim.png"]
    assert "1 image of one colour" in " ".join(report.warnings)
    assert "1 image nearly of one colour" in " ".join(report.warnings)


def test_a_class_that_its_files_tell_is_named(root: Path) -> None:
    assert look(root).distinct_files == ()
    for part in PARTS:
        for path in (root / part / "tern").iterdir():
            Image.open(path).save(path.with_suffix(".png"))
            path.unlink()
    report = look(root)
    assert [(one.name, one.kind, one.share, one.elsewhere) for one in report.distinct_files] == [
        ("gull", "JPEG, RGB", 1.0, 0.0),
        ("tern", "PNG, RGB", 1.0, 0.0),
    ]
    assert any("gull: 100% are JPEG, RGB, elsewhere 0%" in one for one in report.warnings)
