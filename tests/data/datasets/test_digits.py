from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.datasets import load_digits

from pcsearch.data.catalog import DataOptions, open_dataset
from pcsearch.errors import UserError


def test_every_scan_is_in_one_part() -> None:
    dataset = open_dataset("digits", DataOptions())
    assert dataset.class_names == tuple("0123456789")
    assert dataset.test is not None
    assert (len(dataset.train.labels), len(dataset.test.labels)) == (1438, 359)
    counts = np.bincount(dataset.train.labels) + np.bincount(dataset.test.labels)
    digits = load_digits()
    assert counts.tolist() == np.bincount(digits.target).tolist()
    pixels = np.concatenate([dataset.train.images.pixels, dataset.test.images.pixels])
    scaled = np.round(digits.images * 255 / 16).astype(np.uint8)
    assert sorted(p.tobytes() for p in pixels) == sorted(p.tobytes() for p in scaled)


def test_images_are_rgb_and_picklable() -> None:
    images = open_dataset("digits", DataOptions()).train.images
    assert images.image(0).mode == "RGB"
    assert images.image(0).size == (8, 8)
    assert images.name(3) == "digit 3"
    copy = pickle.loads(pickle.dumps(images))
    assert copy.key == images.key


def test_digits_keep_their_own_numbers() -> None:
    dataset = open_dataset("digits", DataOptions(classes=(0, 8, "3")))
    assert dataset.class_names == ("0", "3", "8")
    assert set(dataset.train.labels.tolist()) == {0, 1, 2}
    with pytest.raises(UserError, match="no class has the number 10"):
        open_dataset("digits", DataOptions(classes=(1, 10)))
