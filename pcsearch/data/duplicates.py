"""Near-duplicates: the same picture stored twice, re-encoded, resized, cropped a little, mirrored.

A picture's fingerprint is a thumbnail of 12 x 12 brightness and 6 x 6 colour values, how smooth
the picture is, and a checksum of its pixels. Equal fingerprints are equal pictures. Others are
compared by `duplicate_criterion`, but only among pictures with contrast and with detail beyond
the thumbnail: of smooth ones (a scan of 8 x 8 pixels, a plain background) the thumbnail is all
there is, and two of them may look alike by chance.
"""

from __future__ import annotations

import functools
import math
import zlib

import numpy as np
import numpy.typing as npt

from pcsearch.data.dataset import Float32Array, Int64Array, UInt8Array
from pcsearch.data.duplicate_candidates import candidate_pairs
from pcsearch.data.duplicate_criterion import (
    CHROMA_BYTES,
    LUMA_BYTES,
    LUMA_SIDE,
    contrast,
    mirrored,
    same_picture,
)

_CHECKSUM_BYTES = 12
_THUMBNAIL_BYTES = LUMA_BYTES + CHROMA_BYTES
FINGERPRINT_BYTES = _THUMBNAIL_BYTES + 1 + _CHECKSUM_BYTES

_ROWS_A_PIXEL = 10  # rows of the picture for one of the thumbnail; fewer miss more cropped copies
_COLUMNS_AT_LEAST = 96  # fewer than 192: BLAS takes a product this small without other threads
_SMALLEST_SIDE = 24
_SMOOTHEST = 255
_SMOOTH = round(0.75 * _SMOOTHEST)
_FLAT = 8.0  # grey levels of contrast
_PAIRS_AT_ONCE = 1 << 15
_YCBCR = np.array([[0.299, -0.168736, 0.5], [0.587, -0.331264, -0.418688], [0.114, 0.5, -0.081312]])
_ZERO_LEVELS = np.array([0.5, 128.0, 128.0], dtype=np.float32)  # 0.5: the cast cuts off


def fingerprint(pixels: UInt8Array) -> UInt8Array:
    """The fingerprint of one picture.

    Args:
        pixels: uint8 [R, R, 3], RGB. Fingerprints can be compared whatever their R, from about 48;
            equal pictures have equal ones at the same R only.

    Returns:
        uint8 [FINGERPRINT_BYTES]; the same pixels give the same bytes.
    """
    pixels = np.ascontiguousarray(pixels)
    height, width = pixels.shape[:2]
    rows = pixels[_sampled_rows(height)]
    sums = np.add.reduce(rows.reshape(LUMA_SIDE, _ROWS_A_PIXEL, -1), axis=1, dtype=np.uint16)
    columns, weights = _sampled_columns(width)
    sampled = sums.reshape(LUMA_SIDE, width, 3)[:, columns].astype(np.float32)
    small = (sampled.reshape(LUMA_SIDE, -1) @ weights).reshape(LUMA_SIDE, LUMA_SIDE, 3)
    small += _ZERO_LEVELS
    chroma = small[::2, :, 1:] + small[1::2, :, 1:]
    chroma = (chroma[:, ::2] + chroma[:, 1::2]) * np.float32(0.25)
    thumbnail = np.concatenate([small[..., 0].ravel(), chroma.ravel()]).astype(np.uint8)
    return np.frombuffer(
        thumbnail.tobytes() + bytes([_smoothness(rows[::_ROWS_A_PIXEL])]) + _checksum(pixels, sums),
        dtype=np.uint8,
    )


@functools.cache
def _sampled_rows(height: int) -> npt.NDArray[np.intp]:
    """[LUMA_SIDE * _ROWS_A_PIXEL] rows, around each row of the thumbnail closer than farther off.

    They are quantiles of the triangle that reaches to the two neighbours' centres, so that their
    plain sum is the thumbnail's linear filter; those beyond an edge are reflected.
    """
    share = (np.arange(_ROWS_A_PIXEL) + 0.5) / _ROWS_A_PIXEL
    triangle = np.where(share < 0.5, np.sqrt(2 * share) - 1, 1 - np.sqrt(2 - 2 * share))
    places = (np.arange(LUMA_SIDE)[:, None] + 0.5 + triangle).ravel() * height / LUMA_SIDE
    reflected = height - np.abs(height - np.abs(places))
    rows: npt.NDArray[np.intp] = np.clip(reflected, 0, height - 1).astype(np.intp)
    return rows


@functools.cache
def _sampled_columns(width: int) -> tuple[slice, Float32Array]:
    """The columns looked at, and [3 * columns, 3 * LUMA_SIDE] from their RGB sums to YCbCr."""
    step = max(1, width // _COLUMNS_AT_LEAST)
    columns = slice(step // 2, None, step)
    places = np.arange(width)[columns, None] + 0.5
    scale = width / LUMA_SIDE
    far = np.abs(places - (np.arange(LUMA_SIDE) + 0.5) * scale) / max(scale, 1.0)
    triangle = np.maximum(0.0, 1.0 - far)
    triangle /= triangle.sum(axis=0) * _ROWS_A_PIXEL
    return columns, np.kron(triangle, _YCBCR).astype(np.float32)


def _checksum(pixels: UInt8Array, sums: npt.NDArray[np.uint16]) -> bytes:
    """Of the sampled rows a CRC, of all bytes a sum of 8-byte words, which takes less time."""
    flat = pixels.reshape(-1)
    whole = len(flat) // 8 * 8
    total = np.add.reduce(flat[:whole].view(np.uint64))
    crc = zlib.crc32(flat[whole:].data, zlib.crc32(sums.data))
    return crc.to_bytes(4, "big") + int(total).to_bytes(8, "big")


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
    green = rows[:, :, 1].astype(np.float32)
    near, far = max(1, width // 48), width // 12
    steps = [(green[:, lag:] - green[:, :-lag]).ravel() for lag in (near, far)]
    small, large = (float(step @ step) / len(step) for step in steps)
    if small == 0.0 or large == 0.0:
        return _SMOOTHEST
    exponent = 0.5 * math.log(small / large) / math.log(near / far)
    return round(_SMOOTHEST * min(1.0, max(0.0, exponent)))
