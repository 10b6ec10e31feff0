"""Labels in a file: what a worker opens in place of the dataset."""

from __future__ import annotations

import os
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pcsearch.data.cache import ensure_store
from pcsearch.data.labels_file import (
    load_test,
    load_training,
    not_as_saved,
    save_test,
    save_training,
)
from pcsearch.data.prepared import TestImages, TrainingImages
from tests.data.image_files import CountedImages


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


def test_what_was_held_out_is_compared(training: TrainingImages, tmp_path: Path) -> None:
    """Other files with the same labels, as a node divides them that reads one of them otherwise."""
    here, there = "0123456789abcdef", "fedcba9876543210"
    save_training(tmp_path / "a.npz", replace(training, held_out=here))
    loaded = load_training(tmp_path / "a.npz", tmp_path / "cache")
    assert loaded is not None
    assert loaded.held_out == here
    save_test(tmp_path / "t.npz", TestImages(training.store, training.labels, here))
    assert not not_as_saved(tmp_path / "t.npz", TestImages(training.store, training.labels, here))
    for other in (there, ""):
        test = TestImages(training.store, training.labels, other)
        assert not_as_saved(tmp_path / "t.npz", test)
    again = load_test(tmp_path / "t.npz", tmp_path / "cache")
    assert again is not None
    assert again.held_out == here


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


@pytest.mark.parametrize("hidden", ["groups", "given_val", "holds"])
def test_an_archive_whose_directory_hides_an_array_is_damaged(
    training: TrainingImages, tmp_path: Path, hidden: str
) -> None:
    save_training(tmp_path / "a.npz", training)
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name, part in parts.items():
            if name != f"{hidden}.npy":
                archive.writestr(name, part)
    assert load_training(tmp_path / "a.npz", tmp_path / "cache") is None


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


def npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text + data


def described(shape: str, kind: str = "<i8") -> str:
    return f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"


STORE = "store.npy"
HOSTILE: dict[str, dict[str, bytes]] = {
    "a pickle": {"labels.npy": npy(described("(6,)", "|O"), b"cos\nsystem\n(S'false'\ntR.")},
    "more rows than bytes": {"labels.npy": npy(described("(10**12,)")), "kept.npy": b""},
    "a terabyte of labels": {"labels.npy": npy(described(f"({10**12},)"), bytes(48))},
    "rows without end": {"labels.npy": npy(described(f"({10**12}, 0)"))},
    "a header that is no Python": {"labels.npy": npy("{'descr': " + "(" * 90)},
    "a header that calls": {"labels.npy": npy("__import__('os').system('false')")},
    "labels out of range": {"labels.npy": npy(described("(6,)"), b"\xff" * 48)},
    "labels that are text": {"labels.npy": npy(described("(6,)", "<U2"), bytes(48))},
    "a store elsewhere": {STORE: npy(described("()", "<U9"), "../../x.y".encode("utf-32-le"))},
    "a store of many": {STORE: npy(described("(1,)", "<U1"), "x".encode("utf-32-le"))},
    "an array that nobody wrote": {"other.npy": npy(described("(0,)"))},
    "no names of classes": {"class_names.npy": npy(described("(0,)", "<U1"))},
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_file_is_as_good_as_none(
    training: TrainingImages, tmp_path: Path, content: dict[str, bytes]
) -> None:
    save_training(tmp_path / "a.npz", training)
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name, part in (parts | content).items():
            archive.writestr(name, part)
    assert load_training(tmp_path / "a.npz", tmp_path / "cache") is None
    test = TestImages(training.store, training.labels)
    assert isinstance(not_as_saved(tmp_path / "a.npz", test), bool)


def test_a_file_that_unpacks_to_gigabytes_is_not_unpacked(
    training: TrainingImages, tmp_path: Path
) -> None:
    save_training(tmp_path / "a.npz", training)
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["labels.npy"] = npy(described(f"({2**25},)"), bytes(2**28))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    tracemalloc.start()
    assert load_training(tmp_path / "a.npz", tmp_path / "cache") is None
    assert not not_as_saved(tmp_path / "a.npz", TestImages(training.store, training.labels))
    assert tracemalloc.get_traced_memory()[1] < 2**26
    tracemalloc.stop()


def test_what_is_no_archive_is_as_good_as_none(training: TrainingImages, tmp_path: Path) -> None:
    np.save(tmp_path / "plain.npy", training.labels)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for name in ("plain.npy", "pipe", "link", "."):
        assert load_training(tmp_path / name, tmp_path / "cache") is None
        test = TestImages(training.store, training.labels)
        assert not not_as_saved(tmp_path / name, test)


def test_a_link_in_place_of_the_unfinished_file_is_not_written_through(
    training: TrainingImages, tmp_path: Path
) -> None:
    (tmp_path / "outside").write_text("mine")
    (tmp_path / "a.npz.tmp").symlink_to(tmp_path / "outside")
    save_training(tmp_path / "a.npz", training)
    assert (tmp_path / "outside").read_text() == "mine"
    assert same(training, load_training(tmp_path / "a.npz", tmp_path / "cache"))
