from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcsearch.data.cache import ensure_store
from pcsearch.data.cache.build import blocks_whole, rows_per_block
from pcsearch.data.cache.files import header
from pcsearch.data.cache.metadata import StoreMeta, read_meta
from pcsearch.data.sources import ArrayImages, FileImages


def stored(folder: Path, bad: bool = False) -> tuple[Path, StoreMeta]:
    """37 random 8 x 8 images, some files unreadable on request."""
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (37, 8, 8, 3), dtype=np.uint8)
    for index in range(37):
        ArrayImages(pixels, "picture").image(index).save(folder / f"{index:02}.png")
    if bad:
        for index in (0, 17, 18, 36):
            (folder / f"{index:02}.png").write_bytes(b"")
    images = FileImages.of(folder, [f"{index:02}.png" for index in range(37)])
    store = ensure_store(images, 8, folder=folder / "cache", workers=2, on_bad_image="skip")
    meta = read_meta(store.path.with_suffix(".json"))
    assert meta is not None
    assert (store.images == np.delete(pixels, [0, 17, 18, 36] if bad else [], axis=0)).all()
    return store.path, meta


@pytest.mark.parametrize("bad", [False, True])
def test_checksums_cover_every_row(tmp_path: Path, bad: bool) -> None:
    path, meta = stored(tmp_path / "images", bad)
    pixels = path.read_bytes()[len(header(meta.images, 8)) :]
    size = meta.block_rows * 8 * 8 * 3
    naive = tuple(crc32(pixels[start : start + size]) for start in range(0, len(pixels), size))
    assert meta.block_checksums == naive
    assert len(naive) == -(-meta.images // meta.block_rows)
    assert blocks_whole(path, meta, 2)


@given(st.data())
def test_any_changed_byte_is_found(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path, meta = _one_store(tmp_path_factory)
    start, end = len(header(37, 8)), meta.file_bytes
    offset = data.draw(st.integers(start, end - 1))
    other = data.draw(st.integers(1, 255))
    whole = path.read_bytes()
    spoilt = bytearray(whole)
    spoilt[offset] ^= other
    path.write_bytes(spoilt)
    try:
        assert not blocks_whole(path, meta, 3)
    finally:
        path.write_bytes(whole)


_STORES: list[tuple[Path, StoreMeta]] = []


def _one_store(factory: pytest.TempPathFactory) -> tuple[Path, StoreMeta]:
    if not _STORES:
        _STORES.append(stored(factory.mktemp("blocks") / "images"))
    return _STORES[0]


def test_big_files_are_checked_in_places_spread_over_them(tmp_path: Path) -> None:
    path, meta = stored(tmp_path / "images")
    block_bytes, blocks = meta.block_rows * 8 * 8 * 3, len(meta.block_checksums)
    assert blocks >= 7
    found = []
    for block in range(blocks):
        sums = list(meta.block_checksums)
        sums[block] ^= 1
        wrong = replace(meta, block_checksums=tuple(sums))
        assert not blocks_whole(path, wrong, 2)
        found.append(not blocks_whole(path, wrong, 2, at_most_bytes=3 * block_bytes))
    assert sum(found) == 3 * block_bytes * blocks // meta.file_bytes or sum(found) == 2
    assert found[0]
    assert found[-1]


def test_short_and_missing_files_are_not_whole(tmp_path: Path) -> None:
    path, meta = stored(tmp_path / "images")
    with path.open("r+b") as file:
        file.truncate(meta.file_bytes - 1)
    assert not blocks_whole(path, meta, 2)
    path.unlink()
    assert not blocks_whole(path, meta, 2)


@given(st.integers(1, 10**6), st.integers(1, 2048), st.integers(1, 64))
def test_blocks_are_neither_empty_nor_big(rows: int, resize: int, workers: int) -> None:
    block = rows_per_block(rows, resize, workers)
    assert block == 1 or (block <= 64 and block * resize * resize * 3 <= 4 * 2**20)
    assert block == 1 or block * 4 * workers < rows + 4 * workers
