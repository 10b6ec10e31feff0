"""Test images that were trained on: near-duplicates across the parts of a dataset."""

from __future__ import annotations

import numpy as np

from pcsearch.data.cache import ImageStore, fingerprints_of
from pcsearch.data.duplicates import near_duplicates

COMPARED_AT_MOST = 100_000
"""Images of both parts together, beyond which only `pcsearch data verify` compares them."""


def copies_in_test(training: ImageStore, test: ImageStore) -> int | None:
    """How many test images are near-duplicates of a training image.

    None where they are too many to compare at every start, or their fingerprints are damaged.
    """
    trained_on = len(training.kept)
    if trained_on + len(test.kept) > COMPARED_AT_MOST:
        return None
    prints = fingerprints_of(training), fingerprints_of(test)
    if prints[0] is None or prints[1] is None:
        return None
    clusters = near_duplicates(np.concatenate([prints[0], prints[1]]))
    return int((clusters[trained_on:] < trained_on).sum())
