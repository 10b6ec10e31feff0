"""Test images that are copies of training images are counted."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageOps

from pcsearch.data import prepared as leakage
from pcsearch.data.cache import ImageStore, ensure_store
from pcsearch.data.prepared import copies_in_test
from pcsearch.data.sources import FileImages
from tests.data.test_duplicates import jpeg, picture


def store_of(folder: Path, pictures: list[Image.Image]) -> ImageStore:
    folder.mkdir()
    for index, image in enumerate(pictures):
        image.save(folder / f"{index}.png")
    files = FileImages.of(folder, [f"{index}.png" for index in range(len(pictures))])
    return ensure_store(files, 128, folder=folder.parent / "cache")


def test_each_test_image_that_is_trained_on_counts_once(tmp_path: Path) -> None:
    training = store_of(tmp_path / "train", [picture(seed) for seed in (1, 1, 2, 3, 4)])
    shown = [picture(2), jpeg(picture(2), 50), ImageOps.mirror(picture(1)), picture(7), picture(7)]
    test = store_of(tmp_path / "test", shown)
    assert copies_in_test(training, test) == 3  # 7 and its copy are both test images
    assert copies_in_test(test, training) == 3  # 1, its copy, and 2


def test_without_copies_there_are_none(tmp_path: Path) -> None:
    training = store_of(tmp_path / "train", [picture(seed) for seed in range(6)])
    test = store_of(tmp_path / "test", [picture(seed) for seed in range(6, 9)])
    assert copies_in_test(training, test) == 0


def test_of_very_many_it_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = store_of(tmp_path / "train", [picture(1), picture(2)])
    test = store_of(tmp_path / "test", [picture(1)])
    monkeypatch.setattr(leakage, "COMPARED_AT_MOST", 3)
    assert copies_in_test(training, test) == 1
    monkeypatch.setattr(leakage, "COMPARED_AT_MOST", 2)
    assert copies_in_test(training, test) is None


def test_damaged_fingerprints_are_no_fingerprints(tmp_path: Path) -> None:
    training = store_of(tmp_path / "train", [picture(1), picture(2)])
    prints = training.path.with_suffix(".prints.npy")
    content = bytearray(prints.read_bytes())
    content[-5] ^= 1
    prints.write_bytes(content)
    assert copies_in_test(training, training) is None
