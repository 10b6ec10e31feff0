from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from pcsearch.errors import UserError
from tests.data.datasets.manifest_files import (
    ROWS,
    SPLIT,
    check,
    files,
    labelled,
    read,
    read_text,
    save_images,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_images(tmp_path, [row[0] for row in ROWS])
    return tmp_path


@pytest.mark.parametrize(
    "text",
    [
        SPLIT,
        SPLIT.replace("\n", "\r\n"),
        SPLIT.replace("\n", "\r"),
        SPLIT.replace(",", ";"),
        SPLIT.replace(",", "\t"),
        SPLIT.replace("\n", "\n\n \n"),
        SPLIT.rstrip("\n") + "\n,,\n",
        SPLIT.replace("path,label", " Path ,LABEL "),
        SPLIT.replace(",gull,", ', "gull" ,').replace('"', ""),
        SPLIT.replace("gull", '"gull"'),
        SPLIT.replace("train", "Training").replace("val", "VALID").replace("test", "testing "),
        SPLIT.replace("val", "validation"),
        "\ufeff" + SPLIT,
        "\n" + SPLIT,
    ],
)
def test_ways_to_write_it(folder: Path, text: str) -> None:
    check(read_text(folder, text), folder)


def test_other_columns_and_their_order(folder: Path) -> None:
    lines = "".join(f"{s},x y,{label},2024,{name}\n" for name, label, s in ROWS)
    check(read_text(folder, "split,notes,label,year,path\n" + lines), folder)


def test_absolute_paths_and_a_manifest_elsewhere(folder: Path) -> None:
    (folder / "lists").mkdir()
    absolute = SPLIT.replace("a/", f"{folder}/a/")
    check(read_text(folder / "lists", absolute), folder)
    (folder / "lists" / "birds.csv").write_text(SPLIT.replace("a/", "../a/"))
    dataset = read(folder / "lists" / "birds.csv")
    assert Path(files(dataset.train)[0]).samefile(folder / "a" / "1.jpg")


def test_odd_file_names(tmp_path: Path) -> None:
    names = [
        "my birds/grèbe, huppé.jpg",
        '蒼鷺 "2".jpg',
        " a.jpg",
        "b;c.jpg",
        "d 'e'.jpg",
        "f\tg.jpg",
    ]
    save_images(tmp_path, names)
    with (tmp_path / "m.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label"])
        writer.writerows((name, label) for name, label in zip(names, "ababab", strict=True))
    dataset = read(tmp_path / "m.csv")
    assert sorted(files(dataset.train) + files(dataset.test)) == sorted(
        str(tmp_path / name) for name in names
    )


def test_numeric_labels(folder: Path) -> None:
    rows = zip([row[0] for row in ROWS], [10, 2, 10, 2, 2, 10], strict=True)
    text = "path,label\n" + "".join(f"{name},{label}\n" for name, label in rows)
    dataset = read_text(folder, text)
    assert dataset.class_names == ("2", "10")
    assert read_text(folder, text, classes=(10, 2)).class_names == ("2", "10")
    with pytest.raises(UserError, match="no class has the number 1; the numbers are 2 to 10"):
        read_text(folder, text, classes=(1, 2))
    with pytest.raises(UserError, match="line 4 has the label 010, but line 2 10: write"):
        read_text(folder, text.replace("a/3.jpg,10", "a/3.jpg,010"))


def test_labels_of_more_digits_than_numbers_have_are_names(folder: Path) -> None:
    one, other = "1" * 5000, "2" * 5000
    rows = zip([row[0] for row in ROWS], [one, other] * 3, strict=True)
    text = "path,label\n" + "".join(f"{name},{label}\n" for name, label in rows)
    assert read_text(folder, text).class_names == (one, other)


def test_classes_by_name_and_by_position(folder: Path) -> None:
    text = SPLIT + "a/7.jpg,auk,train\n"
    for classes in (("Gull", "tern"), (2, 3)):
        check(read_text(folder, text, classes=classes), folder)
    with pytest.raises(UserError, match="split val has no images of auk, but of other classes"):
        read_text(folder, text)
    with pytest.raises(UserError, match='did you mean "gull"'):
        read_text(folder, text, classes=("gul", "tern"))


def test_boxes(folder: Path) -> None:
    lines = [f"{','.join(row)},{i},{i + 0.5},3,4" for i, row in enumerate(ROWS)]
    text = "path,label,split,x,y,w,h\n" + "\n".join(lines)
    dataset = read_text(folder, text)
    assert dataset.train.boxes is not None
    assert dataset.train.boxes.dtype == np.float32
    assert dataset.train.boxes.tolist() == [[i, i + 0.5, 3, 4] for i in range(4)]
    assert dataset.test is not None
    assert dataset.test.boxes is not None
    assert dataset.test.boxes[1].tolist() == [5, 5.5, 3, 4]
    for found, wrong in (("2,2.5,3,4", ",,,"), ("2,2.5,3,4", "2,2.5,0,4"), ("2,2.5", "2,two")):
        with pytest.raises(UserError, match=r"birds\.csv, line 4: x, y, w, h are"):
            read_text(folder, text.replace(found, wrong))
    with pytest.raises(UserError, match="line 4: x, y, w, h are nan"):
        read_text(folder, text.replace("2,2.5", "nan,2.5"))


def many(folder: Path, per_class: int = 12) -> list[str]:
    names = [f"{label}/{number}.jpg" for label in "ab" for number in range(per_class)]
    save_images(folder, names)
    return names


def test_held_out_test(tmp_path: Path) -> None:
    names = many(tmp_path)
    text = "path,label\n" + "".join(f"{name},{name[0]}\n" for name in names)
    dataset = read_text(tmp_path, text)
    assert dataset.given_val is None
    assert dataset.test is not None
    assert np.bincount(dataset.test.labels).tolist() == [2, 2]
    assert sorted(files(dataset.train) + files(dataset.test)) == sorted(
        str(tmp_path / name) for name in names
    )
    assert files(read_text(tmp_path, text).test) == files(dataset.test)
    assert files(read_text(tmp_path, text, split_seed=1).test) != files(dataset.test)
    assert len(files(read_text(tmp_path, text, test_fraction=0.5).test)) == 12
    only_train = text.replace("label", "label,split").replace(",a\n", ",a,train\n")
    only_train = only_train.replace(",b\n", ",b,train\n")
    assert files(read_text(tmp_path, only_train).test) == files(dataset.test)


def test_groups_stay_on_one_side(tmp_path: Path) -> None:
    names = many(tmp_path)
    group_of = {name: f"bird {index // 3}" for index, name in enumerate(names)}
    text = "path,label,group\n" + "".join(f"{n},{n[0]},{group_of[n]}\n" for n in names)
    for seed in range(5):
        dataset = read_text(tmp_path, text, split_seed=seed)
        train, test = (
            {group_of[name] for name, _ in labelled(dataset, part, tmp_path)}
            for part in (dataset.train, dataset.test)
        )
        assert not train & test
        assert len(train | test) == 8
        assert dataset.train.groups is not None
        of_rows = [group_of[name] for name, _ in labelled(dataset, dataset.train, tmp_path)]
        same = np.array(of_rows)[:, None] == np.array(of_rows)
        assert np.array_equal(dataset.train.groups[:, None] == dataset.train.groups, same)


def test_an_empty_group_is_the_images_own(folder: Path) -> None:
    lines = [
        f"{','.join(row)},{group}" for row, group in zip(ROWS, ["g", "g", *" " * 4], strict=True)
    ]
    dataset = read_text(folder, "path,label,split,group\n" + "\n".join(lines))
    assert dataset.train.groups is not None
    assert dataset.train.groups.tolist() == [0, 0, 1, 2]
    assert dataset.test is not None
    assert dataset.test.groups is None


def test_groups_in_two_splits(folder: Path) -> None:
    lines = [f"{','.join(row)},{group}" for row, group in zip(ROWS, "uvwxuz", strict=True)]
    message = "line 6: split test has images of groups that split train has too: u. Give each group"
    with pytest.raises(UserError, match=message):
        read_text(folder, "path,label,split,group\n" + "\n".join(lines))


def test_copies_are_a_group(tmp_path: Path) -> None:
    names = many(tmp_path)
    for one, other in ((0, 5), (0, 7), (13, 20)):
        (tmp_path / names[other]).write_bytes((tmp_path / names[one]).read_bytes())
    text = "path,label,group\n" + "".join(
        f"{name},{name[0]},{'bird' if index in (7, 8) else ''}\n"
        for index, name in enumerate(names)
    )
    for seed in range(8):
        dataset = read_text(tmp_path, text, split_seed=seed)
        assert dataset.test is not None
        test = {names.index(name) for name, _ in labelled(dataset, dataset.test, tmp_path)}
        for together in ({0, 5, 7, 8}, {13, 20}):
            assert not test & together or together <= test
        if not test & {0, 5, 7, 8}:
            assert dataset.train.groups is not None
            rows = [names.index(name) for name, _ in labelled(dataset, dataset.train, tmp_path)]
            numbers = {dataset.train.groups[rows.index(row)] for row in (0, 5, 7, 8)}
            assert len(numbers) == 1


def test_copies_across_given_splits_are_no_mistake_here(folder: Path) -> None:
    (folder / "a/5.jpg").write_bytes((folder / "a/1.jpg").read_bytes())
    check(read_text(folder, SPLIT), folder)


def test_a_missing_image_is_a_bad_image(folder: Path) -> None:
    (folder / "a/1.jpg").unlink()
    dataset = read_text(folder, SPLIT)
    with pytest.raises(OSError, match="no such file"):
        dataset.train.images.image(0)


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize("how", ["absolute", "symbolic link", "hard link"])
def test_one_file_in_two_splits_under_two_names(folder: Path, split: str, how: str) -> None:
    again = folder / "b.jpg"
    if how == "absolute":
        again = folder / "a" / "1.jpg"
    elif how == "symbolic link":
        again.symlink_to(folder / "a" / "1.jpg")
    else:
        again.hardlink_to(folder / "a" / "1.jpg")
    with pytest.raises(UserError, match=r"1\.jpg is the same|same file as .*1\.jpg"):
        read_text(folder, SPLIT + f"{again},gull,{split}\n")
