from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from pcsearch.data.layouts.manifest_paths import hint_at
from pcsearch.errors import UserError
from tests.data.datasets.manifest_files import (
    ROWS,
    SPLIT,
    check,
    files,
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
        SPLIT.replace("a/", "a\\"),
        SPLIT.replace("a/", ".\\a\\"),
        SPLIT.replace("a/", " a/").replace(".jpg", ".jpg "),
        SPLIT.replace("a/", "\u00a0a/"),
        SPLIT.replace("path,label", "Path, Label").replace(",", ", "),
        SPLIT.replace("a/1.jpg", "'a/1.jpg'"),
        "label, path, split\n" + "".join(f'{label}, "{path}", {s}\n' for path, label, s in ROWS),
        "sep=;\n" + SPLIT.replace(",", ";"),
        "\ufeffSEP=;\r\n" + SPLIT.replace(",", ";").replace("\n", "\r\n"),
        '"sep=|"\n' + SPLIT.replace(",", "|"),
        "sep=,,\n" + SPLIT,
    ],
)
def test_other_ways_to_write_a_path_are_taken(folder: Path, text: str) -> None:
    check(read_text(folder, text), folder)


def test_file_addresses_are_taken(folder: Path) -> None:
    for start in (f"file://{folder}/a/", f"file://localhost{folder}/a/", f"FILE:{folder}/a/"):
        check(read_text(folder, SPLIT.replace("a/", start)), folder)
    save_images(folder, ["a b/ü #1.jpg", "a b/%41.jpg"])
    text = SPLIT + f"file://{folder}/a%20b/%C3%BC%20%231.jpg,gull,train\na b/%41.jpg,gull,train\n"
    assert str(folder / "a b/ü #1.jpg") in files(read_text(folder, text).train)
    assert str(folder / "a b/%41.jpg") in files(read_text(folder, text).train)


def test_a_file_of_the_very_name_comes_first(folder: Path) -> None:
    save_images(folder, ["a\\1.jpg", "7.jpg", " 7.jpg"])
    text = SPLIT + "a\\1.jpg,gull,train\n7.jpg,gull,train\n 7.jpg,tern,train\n"
    assert {str(folder / name) for name in ("a\\1.jpg", "7.jpg", " 7.jpg")} <= set(
        files(read_text(folder, text).train)
    )


def test_paths_in_another_unicode_form_are_taken(folder: Path) -> None:
    nfc, nfd = (unicodedata.normalize(form, "möwe.jpg") for form in ("NFC", "NFD"))
    save_images(folder, [nfd])
    dataset = read_text(folder, SPLIT + f"{nfc},gull,train\n")
    assert Path(files(dataset.train)[2]).samefile(folder / nfd)


def test_one_file_listed_in_two_ways_is_listed_twice(folder: Path) -> None:
    with pytest.raises(UserError, match=r"line 8: a/1\.jpg is already listed in line 2"):
        read_text(folder, SPLIT + "a\\1.jpg,gull,train\n")


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("C:\\Users\\me\\birds\\a\\1.jpg", r' Without "C:\Users\me\birds\", {root}/a/1.jpg is'),
        ("/home/other/a/1.jpg", ' Without "/home/other/", {root}/a/1.jpg is there: remove this'),
        ("birds/a/1.jpg", ' Without "birds/", {root}/a/1.jpg is there'),
        ("file:///D:/x/a/1.jpg", ' Without "file:///D:/x/", {root}/a/1.jpg is there'),
        ("a/1", " {root}/a/1.jpg is there: add the ending to the paths."),
        ("https://example.org/1.jpg", " This is an address: download the files"),
        ("s3://bucket/a/1.jpg", " This is an address: download the files"),
        ("b/9.jpg", ""),
        ("a\0b", ""),
    ],
)
def test_what_would_be_there_is_said(folder: Path, written: str, hint: str) -> None:
    found = hint_at(folder, written)
    assert found.startswith(hint.format(root=folder))
    assert bool(found) == bool(hint)


def test_a_manifest_one_folder_too_deep_is_told(folder: Path) -> None:
    (folder / "lists").mkdir()
    with pytest.raises(UserError, match=r"6 of 6 files are missing\. .*put the manifest into /"):
        read_text(folder / "lists", SPLIT)
    with pytest.raises(UserError, match="6 of 6 files are missing"):
        read_text(folder / "lists", SPLIT, half_unpacked="list")


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("is_valid", ("True", "False")),
        ("Is Valid", ("0", "1")),
        ("train_test_split", ("1", "0")),
        ("data set", ("train", "test")),
        ("Usage", ("Training", "PrivateTest")),
        ("phase", ("dev", "")),
    ],
)
def test_a_column_that_looks_like_a_split_is_refused(
    folder: Path, name: str, cells: tuple[str, str]
) -> None:
    text = f"path,label,{name}\n" + "".join(
        f"{path},{label},{cells[row % 2]}\n" for row, (path, label, _) in enumerate(ROWS)
    )
    with pytest.raises(UserError, match=f"has a column {name!r}.* ignored"):
        read_text(folder, text)
    beside = text.replace("path,label", "split,path,label").replace("a/", "train,a/")
    assert read_text(folder, beside, near_duplicates="ignore").notes == (
        f"1 column is ignored: {name!r}.",
    )


def test_a_parquet_column_that_looks_like_a_split_is_refused(folder: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {name: [row[i] for row in ROWS] for i, name in enumerate(("path", "label", "phase"))}
    pq.write_table(pa.table(columns), folder / "birds.parquet")
    with pytest.raises(UserError, match="has a column 'phase' with test, train, val"):
        read(folder / "birds.parquet")


def test_every_ignored_column_is_named(folder: Path) -> None:
    text = ",path,label,split,Year,place\n" + "".join(
        f"{row},{','.join(cells)},2024,x\n" for row, cells in enumerate(ROWS)
    )
    assert read_text(folder, text).notes == ("3 columns are ignored: unnamed, 'Year', 'place'.",)
    assert read_text(folder, SPLIT).notes == ()


def test_a_pointer_of_git_lfs_is_no_manifest(folder: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n"
    with pytest.raises(UserError, match="is a Git LFS pointer, not the file itself: run `git lfs"):
        read_text(folder, pointer)
