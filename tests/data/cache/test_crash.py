"""Builders that are killed, and several that start at once."""

from __future__ import annotations

import os
import random
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from pcsearch.data.cache import ensure_store, list_stores, open_store
from pcsearch.data.cache import store as store_module
from pcsearch.data.cache.files import StoreFiles, stores_in
from tests.data.cache.processes import BUILD, LOCK, said, start
from tests.data.image_files import CountedImages, leftovers, noise


def expected(size: int) -> np.ndarray:
    return np.stack([np.asarray(noise(9, 9, i).resize((8, 8), 2)) for i in range(size)])


def begin(folder: Path, size: int) -> subprocess.Popen[str]:
    folder.mkdir()
    builder = start(BUILD, folder, size)
    assert said(builder) == "ready"
    assert builder.stdin is not None
    builder.stdin.write("\n")
    builder.stdin.flush()
    return builder


@pytest.mark.slow
def test_builders_killed_at_random_moments(tmp_path: Path) -> None:
    size, right = 1500, expected(1500)
    builder = begin(tmp_path / "undisturbed", size)
    began = time.monotonic()
    assert int(said(builder)) == int(right.sum())
    seconds = time.monotonic() - began
    builder.communicate()
    moments, unfinished = random.Random(0), 0
    for attempt in range(12):
        folder = tmp_path / str(attempt)
        builder = begin(folder, size)
        time.sleep(moments.uniform(0.0, 1.1) * seconds)
        builder.kill()
        builder.communicate()
        unfinished += not any(info.whole for info in list_stores(folder / "cache"))
        for info in list_stores(folder / "cache"):
            assert not info.in_use
            opened = open_store(info.path)
            assert (opened is not None) == info.whole
            assert opened is None or (opened.images == right).all()
        store = ensure_store(CountedImages(folder / "log", size), 8, folder=folder / "cache")
        assert (store.images == right).all()
        assert len(leftovers(folder / "cache")) == 4
    assert unfinished >= 3


def test_killed_between_any_two_renames(tmp_path: Path) -> None:
    """Every set of files that a dead builder can leave: some renamed, in their order."""
    source = CountedImages(tmp_path / "log")
    whole = ensure_store(source, 8, folder=tmp_path / "whole")
    [files] = stores_in(tmp_path / "whole")
    meta, pixels, prints, twins = files.whole
    for renamed in ([], [pixels], [pixels, prints], [pixels, prints, twins]):
        folder = tmp_path / f"cache{len(renamed)}"
        folder.mkdir()
        for path in (pixels, prints, twins, meta):
            name = path.name if path in renamed else f"{path.name}.tmp"
            (folder / name).write_bytes(path.read_bytes())
        assert open_store(folder / pixels.name) is None
        assert [info.whole for info in list_stores(folder)] == [False]
        other = ensure_store(CountedImages(tmp_path / "log", key="other"), 8, folder=folder)
        assert [info.path for info in list_stores(folder)] == [other.path]
        assert len(leftovers(folder)) == 4
    assert (whole.images == expected(40)).all()


def test_remains_beside_a_whole_store_are_removed(tmp_path: Path) -> None:
    first = ensure_store(CountedImages(tmp_path / "log"), 8, folder=tmp_path / "cache")
    remains = StoreFiles(tmp_path / "cache", first.path.stem).unfinished
    for path in remains:
        path.write_bytes(b"half")
    ensure_store(CountedImages(tmp_path / "log", key="other"), 8, folder=tmp_path / "cache")
    assert not any(path.exists() for path in remains)
    assert open_store(first.path) is not None


def test_stale_lock_of_a_dead_builder(tmp_path: Path) -> None:
    source = CountedImages(tmp_path / "log")
    key = store_module._store_key(source, 8, "warp")
    files = StoreFiles(tmp_path, key)
    holder = start(LOCK, files.lock)
    assert said(holder) == "held"
    holder.kill()
    holder.communicate()
    files.lock.write_text("99999")  # as other lock libraries leave it
    ensure_store(source, 8, folder=tmp_path)
    assert len((tmp_path / "log").read_text().split()) == 40


def test_two_builders_at_once(tmp_path: Path) -> None:
    builders = [start(BUILD, tmp_path, 300) for _ in range(2)]
    for builder in builders:
        assert said(builder) == "ready"
    outputs = [builder.communicate("\n") for builder in builders]
    assert [builder.returncode for builder in builders] == [0, 0], outputs
    assert len({out for out, _ in outputs}) == 1
    assert sorted(map(int, (tmp_path / "log").read_text().split())) == list(range(300))


def test_the_next_builder_takes_over_from_a_killed_one(tmp_path: Path) -> None:
    first, second = (start(BUILD, tmp_path, 4000) for _ in range(2))
    for builder in (first, second):
        assert said(builder) == "ready"
    for builder in (first, second):
        assert builder.stdin is not None
        builder.stdin.write("\n")
        builder.stdin.flush()
        while not (tmp_path / "log").exists():
            time.sleep(0.01)
    assert [info.in_use for info in list_stores(tmp_path / "cache")] == [True]
    os.kill(first.pid, 9)
    first.communicate()
    out, error = second.communicate()
    assert second.returncode == 0, error
    assert int(out) == int(expected(4000).sum())
    assert len(leftovers(tmp_path / "cache")) == 4
