from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from pcsearch.data.layouts import matlab
from pcsearch.data.layouts.matlab import read_mat
from pcsearch.errors import UserError
from tests.data.datasets.layouts import cells, structs


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lists é.mat"


@pytest.mark.parametrize("version", ["4", "5"])
@pytest.mark.parametrize("compressed", [False, True])
def test_character_matrix_and_numbers(path: Path, version: str, compressed: bool) -> None:
    content = {"names": np.array(["one", "three"]), "labels": np.array([[1], [200]])}
    savemat(path, content, format=version, do_compression=compressed and version == "5")
    file = read_mat(path)
    assert file.texts("names") == ["one", "three"]
    assert file.numbers("labels").tolist() == [1, 200]


@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize("names", [["a/b 1.jpg"], ["Vögel – 1", "x"]])
def test_cells(path: Path, names: list[str], column: bool) -> None:
    savemat(path, {"names": cells(names, column=column)})
    assert read_mat(path).texts("names") == names


def test_cells_within_cells(path: Path) -> None:
    outer = np.empty((2, 1), dtype=object)
    outer[0, 0], outer[1, 0] = cells(["one"]), cells(["two"])
    savemat(path, {"names": outer})
    assert read_mat(path).texts("names") == ["one", "two"]


@pytest.mark.parametrize("count", [1, 3])
def test_structs(path: Path, count: int) -> None:
    numbers = [7, 300, 255][:count]
    savemat(path, {"s": structs({"n": numbers, "file": [f"{n}.jpg" for n in numbers]})})
    file = read_mat(path)
    assert file.has("s")
    assert file.has("s.n")
    assert not file.has("s.m")
    assert not file.has("t.n")
    assert file.numbers("s.n").tolist() == numbers
    assert file.texts("s.file") == [f"{n}.jpg" for n in numbers]


def test_small_types_do_not_overflow(path: Path) -> None:
    bytes_ = np.array([[255]], dtype=np.uint8)
    savemat(path, {"s": structs({"x2": [255]}), "labels": bytes_})
    for name in ("s.x2", "labels"):
        assert (read_mat(path).numbers(name) + 1).tolist() == [256]


def test_absent_names(path: Path) -> None:
    savemat(path, {"s": structs({"n": [1]}), "labels": np.array([1])})
    file = read_mat(path)
    with pytest.raises(UserError, match=r"é\.mat has no names \(it has: s, labels\)"):
        file.texts("names")
    with pytest.raises(UserError, match=r"has no s\.class \(it has: s\.n\)"):
        file.numbers("s.class")
    with pytest.raises(UserError, match=r"has no labels\.class \(it has: nothing\)"):
        file.numbers("labels.class")


@pytest.mark.parametrize("value", [np.array([1.5]), np.array([np.nan]), cells(["x"]), "text"])
def test_no_whole_numbers(path: Path, value: object) -> None:
    savemat(path, {"labels": value})
    with pytest.raises(UserError, match=r"é\.mat: labels must hold whole numbers only"):
        read_mat(path).numbers("labels")


def test_no_texts(path: Path) -> None:
    savemat(path, {"names": np.array([[1, 2]])})
    with pytest.raises(UserError, match=r"é\.mat: names must hold text only"):
        read_mat(path).texts("names")


def test_missing(path: Path) -> None:
    with pytest.raises(UserError, match=r"é\.mat cannot be read: No such file"):
        read_mat(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n<!DOCTYPE html><html>404</html>", "is a web page"),
        (b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\2IM", "of version 7.3"),
        (b"not a MATLAB file at all, but long enough for its header" * 9, "damaged or cut short"),
    ],
)
def test_other_files(path: Path, content: bytes, message: str) -> None:
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_mat(path)


@pytest.mark.parametrize("compressed", [False, True])
def test_cut_short_anywhere(path: Path, compressed: bool) -> None:
    """Never a traceback: a message, or the variables that were whole before the cut."""
    names = [f"n0208{i}/{i}.jpg" for i in range(30)]
    content = {"file_list": cells(names, column=True), "labels": np.arange(30.0)[:, None]}
    savemat(path, content, do_compression=compressed)
    whole = path.read_bytes()
    refused = 0
    for size in range(1, len(whole) - 1, 37):
        path.write_bytes(whole[:size])
        try:
            file = read_mat(path)
            assert file.texts("file_list") == names
            assert file.numbers("labels").tolist() == list(range(30))
        except UserError:
            refused += 1
    assert refused == len(range(1, len(whole) - 1, 37))


@pytest.mark.parametrize("arrays", [1, 4])
def test_what_unpacks_to_too_much_is_refused(path: Path, arrays: int) -> None:
    each = matlab.MOST_UNPACKED_BYTES // arrays + 1
    content = {f"zeros{n}": np.zeros(each, dtype=np.uint8) for n in range(arrays)}
    savemat(path, content, do_compression=True)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(UserError, match="unpacks to more than 300 MB"):
        read_mat(path)
