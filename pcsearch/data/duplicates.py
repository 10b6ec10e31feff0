"""Near-duplicates: the same picture stored twice, re-encoded, resized, cropped a little, mirrored.

A picture's fingerprint is a thumbnail of 12 x 12 brightness and 6 x 6 colour values, how smooth
the picture is, and a checksum of its pixels. Equal fingerprints are equal pictures. Others are
compared by `duplicate_criterion`, but only among pictures with contrast and with detail beyond
the thumbnail: of smooth ones (a scan of 8 x 8 pixels, a plain background) the thumbnail is all
there is, and two of them may look alike by chance.
"""

from __future__ import annotations

import math
import zlib

import numpy as np
import numpy.typing as npt
from PIL import Image

from pcsearch.data.dataset import Int64Array, UInt8Array
from pcsearch.data.duplicate_candidates import candidate_pairs
from pcsearch.data.duplicate_criterion import (
    CHROMA_BYTES,
    LUMA_BYTES,
    LUMA_SIDE,
    contrast,
    mirrored,
    same_picture,
)

_CHECKSUM_BYTES = 8
_THUMBNAIL_BYTES = LUMA_BYTES + CHROMA_BYTES
FINGERPRINT_BYTES = _THUMBNAIL_BYTES + 1 + _CHECKSUM_BYTES

_ROWS_LOOKED_AT = 64  # of a picture: averaging more changes the thumbnail little, and takes longer
_SMALLEST_SIDE = 24
_SMOOTHEST = 255
_SMOOTH = round(0.75 * _SMOOTHEST)
_FLAT = 8.0  # grey levels of contrast
_PAIRS_AT_ONCE = 1 << 15


def fingerprint(pixels: UInt8Array) -> UInt8Array:
    """The fingerprint of one picture.

    Args:
        pixels: uint8 [R, R, 3], RGB. Fingerprints can be compared whatever their R, from about 48;
            equal pictures have equal ones at the same R only.

    Returns:
        uint8 [FINGERPRINT_BYTES]; the same pixels give the same bytes.
    """
    rows = np.ascontiguousarray(pixels[:: max(1, len(pixels) // _ROWS_LOOKED_AT)])
    small = Image.fromarray(rows).resize(
        (LUMA_SIDE, LUMA_SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0
    )
    small = small.convert("YCbCr")
    half = len(rows) // 2
    checksum = zlib.crc32(rows[:half].data) << 32 | zlib.crc32(rows[half:].data)
    return np.frombuffer(
        small.getchannel(0).tobytes()
        + np.asarray(small.reduce(2))[..., 1:].tobytes()
        + bytes([_smoothness(rows)])
        + checksum.to_bytes(_CHECKSUM_BYTES, "big"),
        dtype=np.uint8,
    )


def near_duplicates(fingerprints: UInt8Array) -> Int64Array:
    """Which pictures are the same.

    Args:
        fingerprints: uint8 [m, FINGERPRINT_BYTES].

    Returns:
        [m] cluster numbers: the smallest row of the cluster, for a picture without a duplicate
        its own row.
    """
    if len(fingerprints) == 0:
        return np.zeros(0, dtype=np.int64)
    smallest = _first_equal(fingerprints)
    rows = np.flatnonzero(smallest == np.arange(len(smallest)))
    rows = rows[_is_textured(fingerprints[rows])]
    thumbnails = fingerprints[rows, :_THUMBNAIL_BYTES]
    clusters = np.arange(len(rows))
    for i, j, turned in candidate_pairs(thumbnails[:, :LUMA_BYTES]):
        for start in range(0, len(i), _PAIRS_AT_ONCE):
            a, b = i[start : start + _PAIRS_AT_ONCE], j[start : start + _PAIRS_AT_ONCE]
            apart = clusters[a] != clusters[b]
            a, b = a[apart], b[apart]
            other = mirrored(thumbnails[b]) if turned else thumbnails[b]
            same = same_picture(thumbnails[a], other)
            clusters = _joined(clusters, a[same], b[same])
    smallest[rows] = rows[clusters]
    return smallest[smallest]


def _first_equal(fingerprints: UInt8Array) -> Int64Array:
    """[m] the smallest row with the same bytes."""
    whole = np.ascontiguousarray(fingerprints).view(f"V{FINGERPRINT_BYTES}").ravel()
    _, first, inverse = np.unique(whole, return_index=True, return_inverse=True)
    return first[inverse.reshape(-1)].astype(np.int64)


def _is_textured(fingerprints: UInt8Array) -> npt.NDArray[np.bool_]:
    detailed = fingerprints[:, _THUMBNAIL_BYTES] < _SMOOTH
    return np.asarray(detailed & (contrast(fingerprints) >= _FLAT), dtype=bool)


def _joined(clusters: Int64Array, i: Int64Array, j: Int64Array) -> Int64Array:
    """The clusters after rows i[k] and j[k] have been found to be the same, for all k."""
    if len(i) == 0:
        return clusters
    clusters = clusters.copy()
    for a, b in zip(i.tolist(), j.tolist(), strict=True):
        kept, dropped = sorted((_root(clusters, a), _root(clusters, b)))
        clusters[dropped] = kept
    while not np.array_equal(shorter := clusters[clusters], clusters):
        clusters = shorter
    return clusters


def _root(clusters: Int64Array, row: int) -> int:
    while (above := int(clusters[row])) != row:
        row = above
    return row


def _smoothness(rows: UInt8Array) -> int:
    """0 to 255 for the exponent h, 0 to 1, by which differences along a row grow with distance.

    Photographs have 0.3 to 0.6 between 1/48 and 1/12 of the width; what was enlarged from fewer
    than about 16 pixels, and what is out of focus, is a smooth surface: nearly 1.
    """
    width = rows.shape[1]
    if width < _SMALLEST_SIDE:
        return _SMOOTHEST
    green = rows[::4, :, 1].astype(np.float32)
    near, far = max(1, width // 48), width // 12
    steps = [(green[:, lag:] - green[:, :-lag]).ravel() for lag in (near, far)]
    small, large = (float(step @ step) / len(step) for step in steps)
    if small == 0.0 or large == 0.0:
        return _SMOOTHEST
    exponent = 0.5 * math.log(small / large) / math.log(near / far)
    return round(_SMOOTHEST * min(1.0, max(0.0, exponent)))
