from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcsearch.data.dataset import Int64Array
from pcsearch.data.layouts import duplicate_files as same_bytes
from pcsearch.data.layouts.duplicate_files import merge_groups, same_bytes_groups


def save(folder: Path, contents: list[bytes]) -> list[str]:
    folder.mkdir(exist_ok=True)
    for number, content in enumerate(contents):
        (folder / f"{number}.jpg").write_bytes(content)
    return [f"{number}.jpg" for number in range(len(contents))]


@given(st.lists(st.sampled_from([b"", b"a", b"b", b"ab", b"ba" * 5000, b"bb" * 5000]), max_size=9))
def test_groups_are_those_of_comparing_every_pair(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]
) -> None:
    folder = tmp_path_factory.mktemp("files")
    groups = same_bytes_groups(folder, save(folder, contents))
    naive = [contents.index(c) if c else row for row, c in enumerate(contents)]
    assert (list(range(len(contents))) if groups is None else groups.tolist()) == naive
    assert (groups is None) == (naive == list(range(len(contents))))


def test_files_that_differ_far_from_the_middle(tmp_path: Path) -> None:
    first = bytes(100_000)
    names = save(tmp_path, [first, b"x" + first[1:], first[:-1] + b"x", first])
    groups = same_bytes_groups(tmp_path, names)
    assert groups is not None
    assert groups.tolist() == [0, 1, 2, 0]


def test_links_missing_and_absolute_files(tmp_path: Path) -> None:
    save(tmp_path / "a", [b"one", b"two"])
    (tmp_path / "link.jpg").symlink_to(tmp_path / "a" / "1.jpg")
    os.link(tmp_path / "a" / "0.jpg", tmp_path / "hard.jpg")
    names = ["gone.jpg", "link.jpg", "a/0.jpg", str(tmp_path / "a" / "1.jpg"), "hard.jpg", "gone2"]
    groups = same_bytes_groups(tmp_path, names)
    assert groups is not None
    assert groups.tolist() == [0, 1, 2, 1, 2, 5]


def test_only_files_of_equal_size_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    digest = same_bytes._digest

    def watched(path: Path, *, whole: bool) -> bytes | None:
        read.append(f"{path.name} {whole}")
        return digest(path, whole=whole)

    monkeypatch.setattr(same_bytes, "_digest", watched)
    names = save(tmp_path, [b"abc", b"d", b"xyz", b"abcd", b"abc", b"efgh" * 9])
    same_bytes_groups(tmp_path, names)
    assert sorted(read) == ["0.jpg False", "0.jpg True", "2.jpg False", "4.jpg False", "4.jpg True"]


def components(stated: list[int], copies: list[int]) -> list[set[int]]:
    """Rows that are connected, by walking from row to row."""
    rows = range(len(stated))
    near = {r: {o for o in rows if stated[o] == stated[r] or copies[o] == copies[r]} for r in rows}
    reached = []
    for start in rows:
        seen, pending = {start}, [start]
        while pending:
            new = near[pending.pop()] - seen
            seen |= new
            pending += new
        reached.append(seen)
    return reached


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 20)), min_size=1, max_size=14))
def test_merged_groups_are_the_connected_rows(rows: list[tuple[int, int]]) -> None:
    stated = [7 * group for group, _ in rows]
    copies = [[other for _, other in rows].index(copy) for _, copy in rows]
    merged = merge_groups(np.array(stated), np.array(copies, dtype=np.int64))
    assert merged is not None
    found = [{o for o in range(len(rows)) if merged[o] == merged[r]} for r in range(len(rows))]
    assert found == components(stated, copies)


def test_merging_with_nothing() -> None:
    groups: Int64Array = np.array([3, 3, 1])
    assert merge_groups(None, None) is None
    assert merge_groups(groups, None) is groups
    assert merge_groups(None, groups) is groups
