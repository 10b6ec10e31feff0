"""Labels in a file: what a worker opens in place of the dataset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pcsearch.data.cache import ensure_store
from pcsearch.data.prepared import TestImages, TrainingImages
from pcsearch.data.prepared_file import (
    load_test,
    load_training,
    not_as_saved,
    save_test,
    save_training,
)

from .image_files import CountedImages


@pytest.fixture
def training(tmp_path: Path) -> TrainingImages:
    store = ensure_store(CountedImages(tmp_path / "log", 6), 8, folder=tmp_path / "cache")
    labels = np.array([0, 0, 0, 1, 1, 1])
    groups = np.array([0, 0, 2, 3, 3, 5])
    return TrainingImages(store, labels, np.array([1, 4]), groups, ("Rüppell's", "grey, dark"))


def same(first: TrainingImages, second: TrainingImages | None) -> bool:
    assert second is not None
    arrays = ("labels", "given_val", "groups")
    return (
        all(np.array_equal(getattr(first, a), getattr(second, a)) for a in arrays)
        and first.class_names == second.class_names
        and np.array_equal(first.store.images, second.store.images)
        and np.array_equal(first.store.twins, second.store.twins)
    )


def test_training_images_round_trip(training: TrainingImages, tmp_path: Path) -> None:
    save_training(tmp_path / "a.npz", training)
    loaded = load_training(tmp_path / "a.npz", tmp_path / "cache")
    assert same(training, loaded)
    assert loaded is not None
    assert isinstance(loaded.store.images, np.memmap)  # shared with all processes, never copied
    assert loaded.labels.dtype == np.int64


def test_what_a_dataset_does_not_state_stays_none(training: TrainingImages, tmp_path: Path) -> None:
    save_training(tmp_path / "a.npz", replace(training, given_val=None, groups=None))
    loaded = load_training(tmp_path / "a.npz", tmp_path / "cache")
    assert loaded is not None
    assert (loaded.given_val, loaded.groups) == (None, None)


def test_test_images_round_trip(training: TrainingImages, tmp_path: Path) -> None:
    save_test(tmp_path / "t.npz", TestImages(training.store, training.labels))
    loaded = load_test(tmp_path / "t.npz", tmp_path / "cache")
    assert loaded is not None
    assert np.array_equal(loaded.labels, training.labels)
    assert np.array_equal(loaded.store.images, training.store.images)


def test_another_nodes_cache_does_not_hold_the_images(
    training: TrainingImages, tmp_path: Path
) -> None:
    save_training(tmp_path / "a.npz", training)
    save_test(tmp_path / "t.npz", TestImages(training.store, training.labels))
    assert load_training(tmp_path / "a.npz", tmp_path / "elsewhere") is None
    assert load_test(tmp_path / "t.npz", tmp_path / "elsewhere") is None
    training.store.path.write_bytes(b"cut short")
    assert load_training(tmp_path / "a.npz", tmp_path / "cache") is None


@pytest.mark.parametrize("size", [0, 1, 200, -1])
def test_a_file_cut_short_is_as_good_as_none(
    training: TrainingImages, tmp_path: Path, size: int
) -> None:
    save_training(tmp_path / "a.npz", training)
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[:size])
    assert load_training(tmp_path / "a.npz", tmp_path / "cache") is None
    assert load_test(tmp_path / "a.npz", tmp_path / "cache") is None


def test_a_damaged_file_is_never_an_error(training: TrainingImages, tmp_path: Path) -> None:
    save_training(tmp_path / "a.npz", training)
    whole = (tmp_path / "a.npz").read_bytes()
    for place in range(0, len(whole), 5):
        damaged = bytearray(whole)
        damaged[place] ^= 0x40
        (tmp_path / "a.npz").write_bytes(damaged)
        loaded = load_training(tmp_path / "a.npz", tmp_path / "cache")
        assert loaded is None or same(training, loaded)


def test_a_node_that_lacks_another_image_has_other_rows(
    training: TrainingImages, tmp_path: Path
) -> None:
    """As many images under the same name, but not the same ones: labels would be shifted."""
    kept = np.array([0, 1, 2, 3, 4, 6])
    other = replace(training, store=replace(training.store, kept=kept))
    save_training(tmp_path / "a.npz", other)
    assert load_training(tmp_path / "a.npz", tmp_path / "cache") is None
    test = TestImages(other.store, training.labels)
    save_test(tmp_path / "t.npz", test)
    assert load_test(tmp_path / "t.npz", tmp_path / "cache") is None
    assert not not_as_saved(tmp_path / "t.npz", test)
    assert not_as_saved(tmp_path / "t.npz", TestImages(training.store, training.labels))
    assert not not_as_saved(tmp_path / "missing.npz", test)
