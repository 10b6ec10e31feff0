"""Which images of a dataset are one picture."""

from __future__ import annotations

import numpy as np

from pcsearch.data.dataset import Int64Array
from pcsearch.data.duplicates import FINGERPRINT_BYTES, near_duplicates
from pcsearch.data.verify.listing import Images
from pcsearch.data.verify.report import Duplicate
from pcsearch.data.verify.scan import Scanned

_ORDER = {"train": 0, "val": 1, "test": 2}


def clusters_of(scanned: list[Scanned]) -> Int64Array:
    """[m] cluster numbers, the smallest image of the cluster: same bytes or same picture."""
    clusters = np.arange(len(scanned), dtype=np.int64)
    readable = np.array([i for i, one in enumerate(scanned) if one.fingerprint is not None], int)
    rows = [one.fingerprint for one in scanned if one.fingerprint is not None]
    prints = np.array(rows, dtype=np.uint8).reshape(len(rows), FINGERPRINT_BYTES)
    clusters[readable] = readable[near_duplicates(prints)]
    return clusters


def duplicates_in(clusters: Int64Array, scanned: list[Scanned], images: Images) -> list[Duplicate]:
    """Every image of a cluster but the first, paired with the one before that is most telling.

    That is one in another part with the same bytes, else one in another part, else one with the
    same bytes, else the first. Leaking pairs come first.
    """
    order = np.argsort(clusters, kind="stable")
    _, starts = np.unique(clusters[order], return_index=True)
    pairs: list[Duplicate] = []
    for cluster in np.split(order, starts[1:]):
        if len(cluster) > 1:
            members = sorted(cluster.tolist(), key=lambda i: (_ORDER[images.parts[i]], i))
            pairs += _pairs(members, scanned, images)
    return sorted(pairs, key=lambda pair: (not pair.leaks, pair.same_label))


def _pairs(members: list[int], scanned: list[Scanned], images: Images) -> list[Duplicate]:
    first_in: dict[str, int] = {}  # part → its first image
    first_with: dict[bytes, dict[str, int]] = {}  # digest → part → its first image of these bytes
    pairs = []
    for image in members:
        part = images.parts[image]
        same_bytes = first_with.setdefault(scanned[image].digest, {})
        earlier = [
            *[i for p, i in same_bytes.items() if p != part],
            *[i for p, i in first_in.items() if p != part],
            *same_bytes.values(),
            *first_in.values(),
        ]
        if earlier:
            pairs.append(_pair(earlier[0], image, scanned, images))
        same_bytes.setdefault(part, image)
        first_in.setdefault(part, image)
    return pairs


def _pair(first: int, second: int, scanned: list[Scanned], images: Images) -> Duplicate:
    exact = scanned[first].digest == scanned[second].digest
    return Duplicate(
        "exact" if exact else "near",
        (images.parts[first], images.parts[second]),
        (images.name(first), images.name(second)),
        (images.label(first), images.label(second)),
    )
