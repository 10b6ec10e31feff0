from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from pcsearch.data.cache import ImageStore, clear_stores, ensure_store, list_stores, open_store
from pcsearch.data.cache import eviction as shelf
from pcsearch.data.cache.files import StoreFiles
from pcsearch.errors import UserError
from tests.data.cache.processes import HOLD, said, start
from tests.data.image_files import CountedImages, leftovers


def filled(folder: Path, keys: str, used_seconds_ago: int = 1000) -> dict[str, Path]:
    """One store of 40 images a key, the first one used longest ago; none is in use."""
    paths = {}
    for number, key in enumerate(keys):
        source = CountedImages(folder.parent / "log", key=key)
        paths[key] = ensure_store(source, 8, folder=folder).path
        used = time.time() - used_seconds_ago + number
        os.utime(paths[key].with_suffix(".json"), (used, used))
    return paths


def keys_in(folder: Path, paths: dict[str, Path]) -> str:
    there = {info.path for info in list_stores(folder) if info.whole}
    return "".join(key for key, path in paths.items() if path in there)


def bytes_of(folder: Path) -> int:
    return sum(info.bytes for info in list_stores(folder))


def test_listing(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert list_stores(cache) == []
    (cache / "0").mkdir(parents=True)
    (cache / "notes.npy").write_text("mine")
    before = time.time() - 1
    source = CountedImages(tmp_path / "log", 5)
    store = ensure_store(source, 8, aspect="keep", folder=cache)
    [info] = list_stores(cache)
    assert replace(info, last_used=0, bytes=0) == replace(
        info,
        path=store.path,
        images=5,
        resize=8,
        aspect="keep",
        title="picture",
        in_use=True,
        whole=True,
        last_used=0,
        bytes=0,
    )
    assert before < info.last_used < time.time() + 1
    ours = [cache / name for name in leftovers(cache) if name not in ("0", "notes.npy")]
    assert info.bytes == sum(path.stat().st_size for path in ours)
    del store
    assert not list_stores(cache)[0].in_use
    clear_stores(cache)
    assert leftovers(cache) == ["0", "notes.npy"]


def test_opening_marks_as_used(tmp_path: Path) -> None:
    paths = filled(tmp_path / "cache", "abc")
    order = [info.path for info in list_stores(tmp_path / "cache")]
    assert order == [paths["c"], paths["b"], paths["a"]]
    open_store(paths["a"])
    ensure_store(CountedImages(tmp_path / "log", key="b"), 8, folder=tmp_path / "cache")
    order = [info.path for info in list_stores(tmp_path / "cache")]
    assert order == [paths["b"], paths["a"], paths["c"]]


def test_lock_lives_as_long_as_the_pixels(tmp_path: Path) -> None:
    store: ImageStore | None = ensure_store(CountedImages(tmp_path / "log"), 8, folder=tmp_path)
    assert store is not None
    part = store.images[3:5]
    del store
    assert list_stores(tmp_path)[0].in_use  # a view keeps the mapping
    del part
    assert not list_stores(tmp_path)[0].in_use


def test_clearing(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    paths = filled(cache, "abc")
    size = bytes_of(cache) // 3
    held = open_store(paths["b"])
    assert held is not None
    would = clear_stores(cache, dry_run=True)
    assert (would.stores, would.bytes, would.in_use) == (2, 2 * size, 1)
    assert keys_in(cache, paths) == "abc"
    os.utime(paths["c"].with_suffix(".json"))
    cleared = clear_stores(cache, keep_used_within_seconds=100)
    assert (cleared.stores, cleared.bytes, cleared.in_use) == (1, size, 0)
    assert keys_in(cache, paths) == "bc"
    cleared = clear_stores(cache)
    assert (cleared.stores, cleared.in_use) == (1, 1)
    assert keys_in(cache, paths) == "b"
    assert held.images.sum() > 0
    assert clear_stores(tmp_path / "nothing").stores == 0


def test_stores_of_another_version(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    path = filled(cache, "a")["a"]
    facts = path.with_suffix(".json")
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"format": 1}))
    assert open_store(path) is None
    assert not list_stores(cache)[0].whole
    filled(cache, "b")  # has room: the other version may still be in use on this machine
    assert path.exists()
    assert clear_stores(cache).stores == 2
    assert leftovers(cache) == []


def test_least_recently_used_stores_make_room_within_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    paths = filled(cache, "abcd")
    open_store(paths["a"])
    monkeypatch.setenv("PCSEARCH_CACHE_LIMIT", f"{bytes_of(cache) / 1e3:.3f}kB")
    paths |= filled(cache, "e")
    assert keys_in(cache, paths) == "acde"


def test_store_in_use_elsewhere_is_not_evicted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    paths = filled(cache, "abc")
    holder = start(HOLD, paths["a"])
    assert said(holder) == "held"
    assert clear_stores(cache, dry_run=True).in_use == 1
    os.utime(paths["a"].with_suffix(".json"), (0, 0))
    monkeypatch.setenv("PCSEARCH_CACHE_LIMIT", f"{bytes_of(cache) / 1e3:.3f}kB")
    paths |= filled(cache, "d")
    assert keys_in(cache, paths) == "acd"
    out, error = holder.communicate("\n")
    assert int(out) > 0, error
    holder = start(HOLD, paths["a"])  # killed, it holds nothing
    assert said(holder) == "held"
    holder.kill()
    holder.communicate()
    os.utime(paths["a"].with_suffix(".json"), (0, 0))
    paths |= filled(cache, "e")
    assert keys_in(cache, paths) == "cde"


def test_store_over_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    paths = filled(cache, "ab")
    log = (tmp_path / "log").read_text()
    monkeypatch.setenv("PCSEARCH_CACHE_LIMIT", "7kB")
    with pytest.raises(UserError, match=r"needs .*\(17,160 bytes\) more, but .*\(7,000 bytes\)"):
        filled(cache, "c")
    assert keys_in(cache, paths) == "ab"  # none was removed in vain
    monkeypatch.setenv("PCSEARCH_CACHE_LIMIT", "18kB")
    held = open_store(paths["a"])
    with pytest.raises(UserError, match=r"there are in use, but PCSEARCH_CACHE_LIMIT"):
        filled(cache, "c")
    del held
    assert (tmp_path / "log").read_text() == log
    paths |= filled(cache, "c")
    assert keys_in(cache, paths) == "c"


def test_bad_limit_is_told_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCSEARCH_CACHE_LIMIT", "lots")
    with pytest.raises(UserError, match="'lots'"):
        ensure_store(CountedImages(tmp_path / "log"), 8, folder=tmp_path / "cache")
    assert not (tmp_path / "log").exists()


def test_mapped_pixels_survive_a_rebuild(tmp_path: Path) -> None:
    source = CountedImages(tmp_path / "log")
    first = ensure_store(source, 8, folder=tmp_path / "cache")
    pixels = first.images.copy()
    first.path.with_suffix(".json").unlink()
    second = ensure_store(source, 8, folder=tmp_path / "cache")
    assert (first.images == pixels).all()
    assert (second.images == pixels).all()
    assert isinstance(second.images, np.memmap)


def test_use_that_begins_after_the_listing_is_respected(tmp_path: Path) -> None:
    path = filled(tmp_path / "cache", "a")["a"]
    files = StoreFiles(path.parent, path.stem)
    with FileLock(files.lock):
        assert not shelf._remove_if_unused(files)
    held = open_store(path)
    assert not shelf._remove_if_unused(files)
    del held
    assert shelf._remove_if_unused(files)
    assert leftovers(tmp_path / "cache") == []
