from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from pcsearch.data.cache import clear_stores, ensure_store, list_stores, open_store
from pcsearch.data.cache import eviction as shelf
from pcsearch.errors import UserError
from tests.data.image_files import CountedImages, leftovers


def test_too_little_room_is_found_before_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = CountedImages(tmp_path / "log")
    usage = type("Usage", (), {"free": 1000, "total": 10**9})
    monkeypatch.setattr(shelf.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(UserError, match=r"17,160 bytes\) needed, .*1,000 bytes\) free"):
        ensure_store(source, 8, folder=tmp_path / "cache")
    assert not (tmp_path / "log").exists()
    assert leftovers(tmp_path / "cache") == []


@pytest.fixture
def small_disk(disk_of: Callable[[str], Path]) -> Path:
    return disk_of("1m")


def test_disk_full_before_and_while_writing(small_disk: Path, tmp_path: Path) -> None:
    class Filling(CountedImages):
        def image(self, index: int) -> Image.Image:
            if index == 4:  # another program fills the disk meanwhile
                with (small_disk / "other").open("wb", buffering=0) as file:
                    while file.write(b"x" * 4096) == 4096:
                        pass
            return super().image(index)

    with pytest.raises(UserError, match=r"needed, 1\.0 MB"):
        ensure_store(CountedImages(tmp_path / "log", 40), 100, folder=small_disk / "cache")

    with pytest.raises((UserError, OSError)) as caught:
        ensure_store(Filling(tmp_path / "log", 20), 100, folder=small_disk / "cache", workers=1)
    assert isinstance(caught.value, UserError)
    assert "not enough room" in str(caught.value)
    assert "604,740 bytes) needed" in str(caught.value)
    assert leftovers(small_disk / "cache") == []


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    source = CountedImages(tmp_path / "log")
    with pytest.raises(UserError, match="PCSEARCH_CACHE"):
        ensure_store(source, 8, folder=tmp_path / "file" / "cache")


def test_stores_not_in_use_make_room_on_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    cache = small_disk / "cache"
    first, second, third = (CountedImages(tmp_path / "log", 12, key) for key in "abc")
    held = ensure_store(first, 100, folder=cache)  # 360 kB of 1 MB
    ensure_store(second, 100, folder=cache)
    ensure_store(third, 100, folder=cache)
    assert len(list_stores(cache)) == 2
    assert held.path in {info.path for info in list_stores(cache)}
    too_big = CountedImages(tmp_path / "log", 30, "d")
    with pytest.raises(UserError, match=r"907,110 bytes\) needed"):
        ensure_store(too_big, 100, folder=cache)
    assert len(list_stores(cache)) == 2  # none was removed in vain
    del held
    ensure_store(too_big, 100, folder=cache)
    assert len(list_stores(cache)) == 1


def test_cache_on_a_disk_that_became_read_only(small_disk: Path, tmp_path: Path) -> None:
    cache, source = small_disk / "cache", CountedImages(tmp_path / "log")
    path = ensure_store(source, 8, folder=cache).path
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert open_store(path) is not None
    assert ensure_store(source, 8, folder=cache).path == path
    assert [info.in_use for info in list_stores(cache)] == [False]
    with pytest.raises(UserError, match=r"cannot be written in .*PCSEARCH_CACHE"):
        ensure_store(source, 9, folder=cache)
    with pytest.raises(UserError, match="cannot be removed"):
        clear_stores(cache)
    assert open_store(path) is not None
