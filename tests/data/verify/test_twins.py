"""Which pairs are told of a cluster, against the rule written out naively, and how fast."""

from __future__ import annotations

import time

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pcsearch.data.dataset import Part
from pcsearch.data.sources import ArrayImages
from pcsearch.data.verify.check import AllImages, duplicates_in
from pcsearch.data.verify.scan import Scanned

ORDER = ("train", "val", "test")


def images_in(parts: list[str]) -> AllImages:
    """Images that are called by their number."""
    count = len(parts)
    source = ArrayImages(np.zeros((count, 1, 1), np.uint8), "image")
    part = Part(source, np.zeros(count, np.int64))
    places = tuple((part, row) for row in range(count))
    return AllImages(places, tuple(parts), np.zeros(count, np.int64), ("gull",))


def scanned_with(digests: list[int]) -> list[Scanned]:
    return [Scanned((1, 1), bytes([digest % 256, digest // 256]), None) for digest in digests]


def naive(parts: list[str], digests: list[int]) -> set[tuple[int, int]]:
    """Of every image but the first, the most telling one before it; all earlier ones compared."""
    members = sorted(range(len(parts)), key=lambda i: (ORDER.index(parts[i]), i))
    pairs = set()
    for position, image in enumerate(members[1:], start=1):

        def telling(other: int, image: int = image) -> int:
            leaks, exact = parts[other] != parts[image], digests[other] == digests[image]
            return (not leaks) * 2 + (not exact)

        pairs.add((min(members[:position], key=telling), image))
    return pairs


@given(st.lists(st.tuples(st.sampled_from(ORDER), st.integers(0, 3)), min_size=2, max_size=30))
def test_the_most_telling_pairs(drawn: list[tuple[str, int]]) -> None:
    parts, digests = [part for part, _ in drawn], [digest for _, digest in drawn]
    one_cluster = np.zeros(len(parts), np.int64)
    pairs = duplicates_in(one_cluster, scanned_with(digests), images_in(parts))
    found = {tuple(int(name.split()[1]) for name in pair.names) for pair in pairs}
    assert found == naive(parts, digests)
    assert len(pairs) == len(parts) - 1


def test_a_big_cluster_of_different_bytes_takes_no_time() -> None:
    count = 50_000  # grey images, say; with a look at all earlier ones of each it was half a minute
    images, scanned = images_in(["train"] * count), scanned_with(list(range(count)))
    began = time.process_time()
    assert len(duplicates_in(np.zeros(count, np.int64), scanned, images)) == count - 1
    assert time.process_time() - began < 5
