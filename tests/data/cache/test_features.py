"""Features beside decoded images: computed once, checked, and removed with their store."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pcsearch.data.cache import ImageStore, clear_stores, ensure_store, list_stores
from pcsearch.data.cache import features as module
from pcsearch.data.cache.features import FeatureArray, ensure_features
from pcsearch.errors import UserError
from tests.data.image_files import CountedImages, leftovers

KEY, OTHER = "a" * 32, "b" * 32
IMAGES, VIEWS = 6, 2


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ensure_store(CountedImages(tmp_path / "log", IMAGES), 8, folder=tmp_path / "cache")


class Features:
    """Numbers that count up, in parts of four rows at most; counts how often it was asked."""

    def __init__(self, shape: tuple[int, ...] = (3,)) -> None:
        size = VIEWS * IMAGES * int(np.prod(shape))
        self.values = np.arange(size, dtype=np.float32).reshape(VIEWS, IMAGES, *shape)
        self.asked = 0

    def __call__(self) -> Iterator[FeatureArray]:
        self.asked += 1
        for view in self.values:
            yield view[:4]
            yield view[4:]


def ensured(store: ImageStore, compute: Features, key: str = KEY) -> FeatureArray:
    return ensure_features(store, key, VIEWS, compute, "net")


@pytest.mark.parametrize("shape", [(3,), (2, 2, 5)])
def test_they_are_computed_once_and_mapped(store: ImageStore, shape: tuple[int, ...]) -> None:
    compute = Features(shape)
    for _ in range(2):
        found = ensured(store, compute)
        assert isinstance(found, np.memmap)
        np.testing.assert_array_equal(found, compute.values)
        with pytest.raises(ValueError, match="read-only"):
            found[0, 0] = 1
    assert compute.asked == 1
    ensured(store, compute, OTHER)
    assert compute.asked == 2


def test_a_damaged_file_is_computed_again(store: ImageStore) -> None:
    compute = Features()
    file = Path(ensured(store, compute).filename)  # type: ignore[attr-defined]
    whole = file.read_bytes()
    damages = (
        whole[:-1],
        whole + b"\0",
        whole[:100],
        b"",
        whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:],
        whole.replace(b"(2, 6, 3)", b"(6, 2, 3)"),
        whole.replace(b"<f4", b"<i4"),
    )
    for number, damaged in enumerate(damages, start=2):
        file.write_bytes(damaged)
        np.testing.assert_array_equal(ensured(store, compute), compute.values)
        assert compute.asked == number
    assert file.read_bytes() == whole


def test_one_computes_and_others_wait(store: ImageStore) -> None:
    compute, found = Features(), []
    threads = [
        threading.Thread(target=lambda: found.append(ensured(store, compute))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert compute.asked == 1
    assert all(np.array_equal(one, compute.values) for one in found)


def test_they_belong_to_their_store(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    store = ensure_store(CountedImages(tmp_path / "log", IMAGES), 8, folder=cache)
    (before,) = list_stores(cache)
    ensured(store, Features())
    (cache / f"{store.path.stem}.{OTHER}.features.npy.tmp").write_bytes(b"left by a killed process")
    (after,) = list_stores(cache)
    files = [path for path in cache.iterdir() if path.suffix != ".lock"]
    assert after.bytes == sum(path.stat().st_size for path in files) > before.bytes
    del store
    clear_stores(cache)
    assert leftovers(cache) == []


def test_features_without_a_store_are_removed_for_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / f"{'c' * 32}.{KEY}.features.npy").write_bytes(b"alone")
    store = ensure_store(CountedImages(tmp_path / "log"), 8, folder=tmp_path / "cache")
    assert [name for name in leftovers(tmp_path / "cache") if name.startswith("c" * 32)] == []
    assert store.path.is_file()


def test_too_large_ones_are_refused_with_their_size(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MEMORY_SHARE", 1e-9)
    with pytest.raises(
        UserError,
        match=r"the features of net are 2 x 2 x 5 numbers a view, 0.0 MB "
        r"\(960 bytes\) in all, more than half of this machine's memory",
    ):
        ensured(store, Features((2, 2, 5)))


def test_a_full_cache_is_refused(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCSEARCH_CACHE_LIMIT", "1KB")
    with pytest.raises(UserError, match="PCSEARCH_CACHE_LIMIT"):
        ensured(store, Features((1000,)))
    assert [path for path in store.path.parent.iterdir() if "features" in path.name] == []


def test_numbers_that_are_not_finite_are_refused(store: ImageStore) -> None:
    compute = Features()
    compute.values[1, 5, 2] = np.inf
    with pytest.raises(UserError, match="the features of net are not finite"):
        ensured(store, compute)
    assert [path for path in store.path.parent.iterdir() if "features" in path.name] == []
