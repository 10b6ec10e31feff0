from __future__ import annotations

import csv
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsearch.data.catalog import DataOptions, open_dataset
from pcsearch.data.layouts.manifest_table import read_manifest
from pcsearch.errors import UserError
from tests.data.datasets.manifest_files import ROWS, SPLIT, check, read, read_text, save_images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_images(tmp_path, [row[0] for row in ROWS])
    return tmp_path


def parquet(file: Path, /, **columns: Sequence[object]) -> Path:
    pq.write_table(pa.table({name: list(cells) for name, cells in columns.items()}), file)
    return file


def test_parquet(folder: Path) -> None:
    names, labels, splits = zip(*ROWS, strict=True)
    check(read(parquet(folder / "m.parquet", path=names, label=labels, split=splits)), folder)
    dictionary = pa.array(labels).dictionary_encode()
    table = pa.table({"label": dictionary, "path": list(names), "split": list(splits)})
    pq.write_table(table, folder / "named-otherwise")
    check(read(folder / "named-otherwise"), folder)


def test_parquet_with_numbers(folder: Path) -> None:
    names = [row[0] for row in ROWS]
    for labels in ([10, 9, 10, 9, 10, 9], [10.0, 9.0, 10.0, 9.0, 10.0, 9.0]):
        dataset = read(parquet(folder / "m.parquet", path=names, label=labels))
        assert dataset.class_names == ("9", "10")


def test_bad_parquet(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet(folder / "m.parquet", path=["a/1.jpg", None], label=["x", "y"])
    with pytest.raises(UserError, match=r"m\.parquet, row 2: the path is empty"):
        read(path)
    parquet(path, path=["a/1.jpg", "a/2.jpg"], label=["x", float("nan")][:1] * 2, x=[1, 2])
    with pytest.raises(UserError, match="has x, but a box takes all of x, y, w, h"):
        read(path)
    parquet(path, file=["a/1.jpg"], label=["x"])
    with pytest.raises(UserError, match=r"no column path.*names: file, label"):
        read(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        read(path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(UserError, match="needs pyarrow: run `pip install pyarrow`"):
        read(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: its first line must name the columns"),
        ("\n \n", "is empty"),
        ("path,label\n", "lists no images"),
        ("a/1.jpg,gull\n", r"no column path \(its first line names: a/1\.jpg, gull\)"),
        ("paht,label\n", 'no column path; is "paht" meant to be it'),
        ("path,class\n", r"no column label \(its first line names: path, class\)"),
        ("path,label,Path\n", "several columns named path"),
        ("path,label,x,y\n", "has x, y, but a box takes all of"),
        ("path,label\na/1.jpg,gull\na/2.jpg\n", "line 3: 1 cells, but the header names 2"),
        ("path,label\na, b.jpg,gull\n", "line 2: 3 cells.*in double quotes"),
        ('path,label\n"a\nb.jpg",gull\n\n,tern\n', "line 5: the path is empty"),
        ("path,label\na/1.jpg, \n", "line 2: the label is empty"),
        ('path,label\na/1.jpg,gull\n"a/2.jpg,tern\n', "line 3: .*Is a double quote missing"),
        ("path,label\na/1.jpg,gull\na/2.jpg,gull\n", "has only one class, gull"),
        (
            SPLIT.replace("gull,val", "Gull,val"),
            r"'Gull' \(1 image\) and 'gull' \(2 images\)",
        ),
        (SPLIT.replace("gull", "nan"), "line 2: the label 'nan' is how .* 3 of 6 rows have it"),
        (SPLIT.replace("gull", "#N/A"), "line 2: the label '#N/A' is how"),
        (SPLIT.replace("val", "dev"), "line 4: the split 'dev' is unknown"),
        (SPLIT.replace("val", "tset"), 'line 4: the split .tset. is unknown, did you mean "test"'),
        (SPLIT.replace("val", ""), "line 4: the split is empty. Write train, val or test"),
        (SPLIT.replace("train", "test"), "has no images of split train"),
        (SPLIT + "a/7.jpg,auk,test\n", "line 8: class auk has images of split test, but none"),
        (SPLIT + "a/7.jpg,auk,train\n", "split val has no images of auk"),
        (SPLIT + "./a//1.jpg,gull,train\n", r"line 8: ./a//1\.jpg is already listed in line 2"),
        ("path,label\na/1.jpg,gull\na/2.jpg,tern\na/3.jpg,tern\n", r"gull \(1\), tern \(2\)"),
        (
            SPLIT.replace("a/", "b/"),
            r"line 2: there is no file .*b/1\.jpg; 6 of 6 files are missing",
        ),
        (SPLIT.encode("utf-16"), "is UTF-16 text: save it as CSV in UTF-8"),
        ("path,label\na/1.jpg,grèbe\n".encode("latin1"), "line 2: not UTF-8 text"),
        (b"PK\x03\x04rest", "is an Excel workbook"),
    ],
)
def test_mistakes(folder: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_text(folder, text)


def test_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"dataset manifest: give its file with data\.manifest"):
        open_dataset("manifest", DataOptions())
    with pytest.raises(UserError, match=r"nowhere\.csv cannot be read: No such file"):
        read(tmp_path / "nowhere.csv")
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        read(tmp_path)


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=12)
# no \r: Python's own writer leaves it unquoted where lines end in \n


@given(
    st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=8),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["utf-8", "utf-8-sig"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
@settings(deadline=None, max_examples=60)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    delimiter: str,
    line_end: str,
    encoding: str,
    quoting: Any,
) -> None:
    rows = [(f"/{path}", f"{label.strip()}.", group) for path, label, group in rows]
    path = tmp_path_factory.mktemp("m") / "m.csv"
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator=line_end, quoting=quoting)
        writer.writerow(["path", "label", "group"])
        writer.writerows(rows)
    columns = read_manifest(path).columns
    found = list(zip(columns["path"], columns["label"], columns["group"], strict=True))
    assert found == [(path, label.strip(), group.strip()) for path, label, group in rows]


def test_large_manifest_is_read_quickly(tmp_path: Path) -> None:
    lines = [f"class {i % 100}/image {i}.jpg,{i % 100},train,g{i // 3}" for i in range(100_000)]
    (tmp_path / "m.csv").write_text("path,label,split,group\n" + "\n".join(lines))
    started = time.perf_counter()
    table = read_manifest(tmp_path / "m.csv")
    assert time.perf_counter() - started < 3  # about 0.2 s; a quadratic step would take minutes
    assert len(table.lines) == 100_000
    assert table.where(99_999) == f"{tmp_path / 'm.csv'}, line 100001"


@pytest.mark.parametrize(
    ("column", "meant"), [("Splits", "split"), ("groups", "group"), ("group_id", "group")]
)
def test_a_split_or_group_by_another_name_is_not_passed_over(
    tmp_path: Path, column: str, meant: str
) -> None:
    file = tmp_path / "m.csv"
    file.write_text(f"path,label,{column}\na.jpg,gull,1\n")
    with pytest.raises(UserError, match=f"column {column!r}, which would be ignored.*{meant!r}"):
        read_manifest(file)
    file.write_text(f"path,label,{column},{meant}\na.jpg,gull,1,train\n")
    assert set(read_manifest(file).columns) == {"path", "label", meant}


def test_a_text_that_every_row_has_is_there_once(tmp_path: Path) -> None:
    """A megabyte of file would else become gigabytes of text."""
    table = pa.table({"path": ["a", "b", None] * 50, "label": ["x" * 2000] * 150})
    pq.write_table(table, tmp_path / "m.parquet")
    with pytest.raises(UserError, match="row 3: the path is empty"):
        read_manifest(tmp_path / "m.parquet")
    pq.write_table(table.drop_columns(["path"]).append_column("path", [list("ab" * 75)]),
                   tmp_path / "m.parquet")  # fmt: skip
    found = read_manifest(tmp_path / "m.parquet").columns
    assert len({id(label) for label in found["label"]}) == 1
    assert found["path"] == list("ab" * 75)


def test_columns_that_unpack_to_too_much_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = parquet(tmp_path / "m.parquet", path=["a" * 500, "b" * 500], label=["x", "y"])
    monkeypatch.setattr("pcsearch.data.layouts.manifest_table._MOST_BYTES", 500)
    with pytest.raises(UserError, match=r"unpacks to 0\.0 GB; at most"):
        read_manifest(file)
