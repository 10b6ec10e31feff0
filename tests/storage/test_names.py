"""Names are never trusted."""

from __future__ import annotations

import tempfile
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcsearch.errors import UserError
from pcsearch.storage.base import check_name, is_name
from pcsearch.storage.local import LocalStorage
from tests.storage.names import BAD_NAMES

_PARTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["..", ".", "", "~", "a", "C:", "\\", "con", "\x00", "x" * 201, "..."]),
)
_NAMES = st.lists(_PARTS, max_size=6).map("/".join)


@given(_NAMES)
def test_a_name_that_is_let_through_stays_below_its_root(name: str) -> None:
    if not is_name(name):
        with pytest.raises(UserError) as told:
            check_name(name)
        assert str(told.value).isprintable()
        return
    assert check_name(name) == name
    for path in (PurePosixPath(name), PureWindowsPath(name)):
        assert not path.is_absolute()
        assert not path.drive
        assert path.parts
        assert not {"..", "."} & set(path.parts)
    assert "/".join(PurePosixPath(name).parts) == name
    assert all(ord(letter) >= 32 for letter in name)
    assert len(name.encode()) <= 800


@given(_NAMES)
def test_a_folder_holds_what_is_let_through_and_nothing_else_is_touched(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "deep" / "root"
        storage = LocalStorage(root)
        try:
            storage.write(name, b"x")
        except UserError:
            assert not is_name(name)
        else:
            assert storage.list() == [name]
            assert storage.read(name) == b"x"
            assert (root / name).is_file()
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        assert all(path.is_relative_to(root) for path in files)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_names(name: str) -> None:
    assert not is_name(name)


@pytest.mark.parametrize(
    "name",
    ["x", "a/b", "checkpoints/digits.compact_cnn.pc.search-001/a0000-e00001.pt", "λ/é x", "~/x"],
)
def test_good_names(name: str) -> None:
    assert check_name(name) == name
