from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pcsearch.data.cache.files import ImagesChangedError, MappedFile
from pcsearch.data.dataset import UInt8Array

SHAPE = (9, 32, 32, 3)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "images.bin"
    path.write_bytes(bytes(64 + int(np.prod(SHAPE))))
    return path


def mapped(path: Path) -> UInt8Array:
    return np.memmap(path, np.uint8, "r", 64, SHAPE)


VIEWS: list[Callable[[UInt8Array], UInt8Array]] = [
    lambda images: images,
    lambda images: images[2:5],
    lambda images: images.view(np.ndarray),
    lambda images: np.ascontiguousarray(images)[1:, :4],
]


@pytest.mark.parametrize("view", VIEWS)
def test_a_file_cut_short_is_noticed_below_any_view(
    file: Path, view: Callable[[UInt8Array], UInt8Array]
) -> None:
    images = view(mapped(file))
    below = MappedFile(images)
    below.check_length()
    assert not below.changed
    os.truncate(file, file.stat().st_size - 1)
    with pytest.raises(ImagesChangedError, match="truncated"):
        below.check_length()
    assert below.changed


@pytest.mark.parametrize("gone", [True, False])
def test_a_file_cut_short_is_noticed_under_another_name_too(file: Path, gone: bool) -> None:
    images = mapped(file)
    below = MappedFile(images)
    with file.open("r+b") as handle:
        file.unlink() if gone else file.rename(file.with_name("moved"))
        assert not below.changed, "its pixels are there as before"
        handle.truncate(100)
    assert below.changed


def test_a_file_written_over_is_noticed(file: Path) -> None:
    images = mapped(file)
    below = MappedFile(images)
    file.open("r+b").close()
    os.utime(file, ns=(1, file.stat().st_mtime_ns))
    below.check()  # who only opened or read it changed nothing
    os.utime(file, ns=(1, file.stat().st_mtime_ns + 1))
    below.check_length()
    with pytest.raises(ImagesChangedError, match=f"{file} were truncated or overwritten"):
        below.check()


def test_another_file_of_the_same_name_is_none_of_its_business(file: Path) -> None:
    images = mapped(file)
    below = MappedFile(images)
    other = file.with_name("other")
    other.write_bytes(b"short")
    other.replace(file)
    below.check()
    below.check_length()


def test_what_lies_in_memory_never_changes() -> None:
    below = MappedFile(np.zeros(SHAPE, np.uint8))
    below.check()
    below.check_length()
    assert not below.changed
