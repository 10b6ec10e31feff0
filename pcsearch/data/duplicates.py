"""Near-duplicates: the same picture stored twice, re-encoded, resized, slightly cropped, mirrored.

**Fingerprint.** It holds a thumbnail of 12 x 12 brightness and 6 x 6 colour values, the picture's
smoothness, and a checksum of its pixels. Equal fingerprints mean equal pictures. `same_picture`
compares unequal ones. It compares only pictures with contrast and with detail beyond the thumbnail.
Smooth ones (a scan of 8 x 8 pixels, a plain background) may have similar thumbnails by chance.

**Candidates.** Among a few thousand pictures, all pairs that correlate are candidates. For more
pictures, all pairs would take too long. There the signs of the 63 lowest frequencies of a
thumbnail's cosine transform make a code. Copies of a picture differ in few signs, where the
frequency is weak. The code is cut into three bands of 21 signs. Two pictures are candidates if
they agree in a band after some of its weakest signs are flipped. That misses a few of the most
cropped copies.

**Criterion.** Copies of a picture may differ in brightness and contrast. They may also be shifted
and stretched a little along each axis (a crop of a few per cent). Least squares explains the
difference d = a - b of two thumbnails by these. With m = (a + b) / 2 and x, y from -1 to 1 across
the thumbnail,

    d  ~  c0 m + c1 + (c2 + c4 x) dm/dx + (c3 + c5 y) dm/dy.

The pictures are the same if three things hold: the residual is small compared with the contrast
of m, every coefficient is within its limit, and the colours agree. The rule is symmetric.
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Iterator
from itertools import product

import numpy as np
import numpy.typing as npt

from pcsearch.data.dataset import Float32Array, Int64Array, UInt8Array

_UInt64Array = npt.NDArray[np.uint64]

_BANDS = 3
_BAND_BITS = 21
_WEAK = 3
_DIFFERING_AT_MOST = 18  # of 63 signs; copies cropped by 4 % differ in 6 on average
_BUCKET_AT_MOST = 128  # larger buckets keep the nearest codes, so similar pictures never cost n^2
_ROWS_AT_ONCE = 4096
_BLOCK_ROWS = 512
_ZERO = -0.5  # below zero, so that rounding does not decide the sign of an absent frequency


def candidate_pairs(
    thumbnails: UInt8Array, all_pairs_up_to: int = 4096
) -> Iterator[tuple[Int64Array, Int64Array, bool]]:
    """Yields rows i, rows j (both [k], i != j) and whether pictures j must be mirrored.

    Args:
        thumbnails: uint8 [m, LUMA_BYTES], brightness, with some contrast; no two rows are equal.
        all_pairs_up_to: the largest m for which all pairs are compared.
    """
    if len(thumbnails) <= all_pairs_up_to:
        yield from _correlated_pairs(thumbnails)
    else:
        yield from _coded_pairs(thumbnails)


def _correlated_pairs(thumbnails: UInt8Array) -> Iterator[tuple[Int64Array, Int64Array, bool]]:
    values = thumbnails.astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)
    turned = values.reshape(-1, _LUMA_SIDE, _LUMA_SIDE)[:, :, ::-1].reshape(values.shape)
    for start in range(0, len(values), _BLOCK_ROWS):
        for others in (values, turned):
            products = values[start : start + _BLOCK_ROWS] @ others[start:].T
            i, j = np.nonzero(np.triu(products > _LEAST_CORRELATION - 0.01, 1))
            yield i + start, j + start, others is turned


def _coded_pairs(thumbnails: UInt8Array) -> Iterator[tuple[Int64Array, Int64Array, bool]]:
    strengths = _frequencies(thumbnails)
    codes = _codes(strengths > _ZERO)
    flips = _codes(np.broadcast_to(_odd_across(), (1, _BANDS * _BAND_BITS)))
    for band in range(_BANDS):
        rotated = _band_first(codes, band)
        order = np.argsort(rotated, kind="stable")
        in_order = rotated[order]
        for start in range(0, len(codes), _ROWS_AT_ONCE):
            rows = np.arange(start, min(start + _ROWS_AT_ONCE, len(codes)))
            probes = _probes(rotated[rows], np.abs(strengths[rows]), band)
            for turned in (False, True):
                asked = probes ^ _band_first(flips, band) if turned else probes
                first, place = _look_up(asked, in_order)
                i, j = rows[first], order[place]
                own = codes[i] ^ flips if turned else codes[i]
                near = (i != j) & (_ones(own ^ codes[j]) <= _DIFFERING_AT_MOST)
                yield i[near], j[near], turned


def _look_up(probes: _UInt64Array, in_order: _UInt64Array) -> tuple[Int64Array, Int64Array]:
    """(row of the probe, place in the sorted codes) for every code in a probe's bucket."""
    low_bits = np.uint64((1 << (_BAND_BITS * (_BANDS - 1))) - 1)
    flat = probes.ravel()
    start = np.searchsorted(in_order, flat & ~low_bits, side="left")
    stop = np.searchsorted(in_order, flat | low_bits, side="right")
    crowded = np.flatnonzero(stop - start > _BUCKET_AT_MOST)
    if len(crowded):
        nearest = np.searchsorted(in_order, flat[crowded]) - _BUCKET_AT_MOST // 2
        latest = stop[crowded] - _BUCKET_AT_MOST
        start[crowded] = np.clip(nearest, start[crowded], latest)
        stop[crowded] = start[crowded] + _BUCKET_AT_MOST
    counts = stop - start
    asked = np.repeat(np.arange(len(flat)), counts)
    place = np.arange(len(asked)) - np.repeat(np.cumsum(counts) - counts, counts)
    return asked // probes.shape[1], place + start[asked]


def _probes(rotated: _UInt64Array, strengths: Float32Array, band: int) -> _UInt64Array:
    """[k, 2**_WEAK] codes: every combination of the band's weakest signs, kept or flipped."""
    in_band = strengths[:, band * _BAND_BITS : (band + 1) * _BAND_BITS]
    weakest = np.argpartition(in_band, _WEAK - 1, axis=1)[:, :_WEAK]
    places = (_BANDS * _BAND_BITS - 1 - weakest).astype(np.uint64)
    bits = np.uint64(1) << places
    turned = np.array(list(product((False, True), repeat=_WEAK)))
    masks = np.where(turned[None], bits[:, None, :], np.uint64(0))
    probes: _UInt64Array = rotated[:, None] ^ np.bitwise_or.reduce(masks, axis=2)
    return probes


def _frequencies(thumbnails: UInt8Array) -> Float32Array:
    """[m, 63] strengths of the lowest frequencies, band after band."""
    waves = _waves()
    strengths = np.empty((len(thumbnails), waves.shape[1]), dtype=np.float32)
    for start in range(0, len(thumbnails), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        strengths[rows] = thumbnails[rows].astype(np.float32) @ waves
    return strengths


def _chosen() -> list[tuple[int, int]]:
    """(down, across) of the frequencies, in the order of the code's bits."""
    sides = range(_LUMA_SIDE)
    ascending = sorted(product(sides, sides), key=lambda f: (f[0] ** 2 + f[1] ** 2, f))
    lowest = ascending[1 : 1 + _BANDS * _BAND_BITS]
    return [lowest[i] for band in range(_BANDS) for i in range(band, len(lowest), _BANDS)]


def _waves() -> Float32Array:
    """[LUMA_BYTES, 63]: the cosine of each chosen frequency."""
    places = np.arange(_LUMA_SIDE) + 0.5
    waves = [
        np.outer(
            np.cos(np.pi * places * down / _LUMA_SIDE), np.cos(np.pi * places * across / _LUMA_SIDE)
        )
        for down, across in _chosen()
    ]
    return np.array(waves, dtype=np.float32).reshape(-1, LUMA_BYTES).T


def _odd_across() -> npt.NDArray[np.bool_]:
    """[63]: the frequencies whose sign flips when the picture is mirrored."""
    return np.array([across % 2 == 1 for _, across in _chosen()])


def _codes(signs: npt.NDArray[np.bool_]) -> _UInt64Array:
    """[m] codes of 63 bits, the first sign highest."""
    codes = np.zeros(len(signs), dtype=np.uint64)
    for column in range(signs.shape[1]):
        codes = (codes << np.uint64(1)) | signs[:, column].astype(np.uint64)
    return codes


def _band_first(codes: _UInt64Array, band: int) -> _UInt64Array:
    """The codes, rotated so that this band's bits are the highest."""
    bits, moved = _BANDS * _BAND_BITS, band * _BAND_BITS
    if moved == 0:
        return codes
    whole = np.uint64((1 << bits) - 1)
    return ((codes << np.uint64(moved)) & whole) | (codes >> np.uint64(bits - moved))


def _ones(codes: _UInt64Array) -> UInt8Array:
    """How many bits of each code are set."""
    parts = np.ascontiguousarray(codes).view(np.uint16).reshape(-1, 4)
    ones: UInt8Array = _ONES[parts].sum(axis=1, dtype=np.uint8)
    return ones


_ONES = np.unpackbits(
    np.arange(1 << 16, dtype=np.uint16).view(np.uint8).reshape(-1, 2), axis=1
).sum(axis=1, dtype=np.uint8)


_LUMA_SIDE = 12
_CHROMA_SIDE = 6
LUMA_BYTES = _LUMA_SIDE**2
_CHROMA_BYTES = 2 * _CHROMA_SIDE**2

_BoolArray = npt.NDArray[np.bool_]

# Measured on all pairs of 2,889 photographs of 50 bird species. Copies re-encoded at quality 50 or
# 5 % brighter have a residual below 0.15. Two frames of one burst have 0.3, the nearest two other
# photographs 0.44, and the nearest two drawings of 40 species 0.28.
_REST = 0.22
_CONTRAST_CHANGE = 0.3
_BRIGHTNESS_CHANGE = 40.0  # grey levels
_SHIFT = 0.6  # thumbnail pixels
_STRETCH = 0.7  # thumbnail pixels at the edge
_COLOUR_CHANGE = 6.0  # root mean square, in levels of Cb and Cr
_LEAST_CORRELATION = 0.75  # pairs below it have a residual far above _REST: skip least squares


def same_picture(first: UInt8Array, second: UInt8Array) -> _BoolArray:
    """A mask [k]: whether row k of both shows the same picture. Only for textured pictures.

    Args:
        first: uint8 [k, LUMA_BYTES + CHROMA_BYTES or more], rows of fingerprints.
        second: the fingerprints to compare with, of the same shape.
    """
    same = np.zeros(len(first), dtype=bool)
    rows = np.arange(len(first))
    for rule in (_correlated, _same_colours, _same_when_aligned):  # the cheap ones first
        rows = rows[rule(first[rows], second[rows])]
    same[rows] = True
    return same


def mirrored(fingerprints: UInt8Array) -> UInt8Array:
    """The thumbnails [k, LUMA_BYTES + CHROMA_BYTES] of the mirrored pictures."""
    luma = fingerprints[:, :LUMA_BYTES].reshape(-1, _LUMA_SIDE, _LUMA_SIDE)[:, :, ::-1]
    chroma = fingerprints[:, LUMA_BYTES : LUMA_BYTES + _CHROMA_BYTES]
    chroma = chroma.reshape(-1, _CHROMA_SIDE, _CHROMA_SIDE, 2)[:, :, ::-1]
    rows = len(fingerprints)
    return np.concatenate(
        [luma.reshape(rows, LUMA_BYTES), chroma.reshape(rows, _CHROMA_BYTES)], axis=1
    )


def contrast(fingerprints: UInt8Array) -> Float32Array:
    """[m] standard deviations of the thumbnails' brightness, in grey levels."""
    deviations: Float32Array = fingerprints[:, :LUMA_BYTES].std(axis=1, dtype=np.float32)
    return deviations


def _correlated(first: UInt8Array, second: UInt8Array) -> _BoolArray:
    a, b = _centred(first[:, :LUMA_BYTES]), _centred(second[:, :LUMA_BYTES])
    products = np.einsum("ki,ki->k", a, b)
    norms = np.einsum("ki,ki->k", a, a) * np.einsum("ki,ki->k", b, b)
    return np.asarray(products > _LEAST_CORRELATION * np.sqrt(norms), dtype=bool)


def _centred(thumbnails: UInt8Array) -> Float32Array:
    values = thumbnails.astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    return values


def _same_colours(first: UInt8Array, second: UInt8Array) -> _BoolArray:
    colours = slice(LUMA_BYTES, LUMA_BYTES + _CHROMA_BYTES)
    change = first[:, colours].astype(np.float32) - second[:, colours]
    return np.asarray(np.square(change).mean(axis=1) <= _COLOUR_CHANGE**2, dtype=bool)


def _same_when_aligned(first: UInt8Array, second: UInt8Array) -> _BoolArray:
    shape = (len(first), _LUMA_SIDE, _LUMA_SIDE)
    a = first[:, :LUMA_BYTES].astype(np.float64).reshape(shape)
    b = second[:, :LUMA_BYTES].astype(np.float64).reshape(shape)
    middle, difference = (a + b) / 2, (a - b).reshape(-1, LUMA_BYTES)
    middle -= middle.mean(axis=(1, 2), keepdims=True)
    down, right = np.gradient(middle, axis=(1, 2))
    x, y = _coordinates()
    causes = np.stack(
        [middle, np.ones_like(middle), right, down, x * right, y * down], axis=1
    ).reshape(-1, 6, LUMA_BYTES)
    normal = causes @ causes.transpose(0, 2, 1) + 1e-3 * np.eye(6)
    fit = np.linalg.solve(normal, causes @ difference[:, :, None])
    rest = difference - (fit.transpose(0, 2, 1) @ causes)[:, 0]
    limits = (_CONTRAST_CHANGE, _BRIGHTNESS_CHANGE, _SHIFT, _SHIFT, _STRETCH, _STRETCH)
    plausible = (np.abs(fit[:, :, 0]) <= limits).all(axis=1)
    small = np.square(rest).mean(axis=1) <= _REST**2 * np.square(middle).mean(axis=(1, 2))
    return np.asarray(plausible & small, dtype=bool)


@functools.cache
def _coordinates() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    across = np.linspace(-1.0, 1.0, _LUMA_SIDE)
    return across[None, :], across[:, None]


_CHECKSUM_BYTES = 12
_THUMBNAIL_BYTES = LUMA_BYTES + _CHROMA_BYTES
FINGERPRINT_BYTES = _THUMBNAIL_BYTES + 1 + _CHECKSUM_BYTES

_ROWS_A_PIXEL = 10  # picture rows per thumbnail row; fewer would miss more cropped copies
_COLUMNS_AT_LEAST = 96  # fewer than 192 columns: BLAS starts no threads for so small a product
_SMALLEST_SIDE = 24
_SMOOTHEST = 255
_SMOOTH = round(0.75 * _SMOOTHEST)
_FLAT = 8.0  # grey levels of contrast
_PAIRS_AT_ONCE = 1 << 15
_YCBCR = np.array([[0.299, -0.168736, 0.5], [0.587, -0.331264, -0.418688], [0.114, 0.5, -0.081312]])
_ZERO_LEVELS = np.array([0.5, 128.0, 128.0], dtype=np.float32)  # 0.5: the cast truncates


def fingerprint(pixels: UInt8Array) -> UInt8Array:
    """The fingerprint of one picture.

    Args:
        pixels: uint8 [R, R, 3], RGB. Fingerprints of different R can be compared, from about
            R = 48. Equal pictures have equal fingerprints only at the same R.

    Returns:
        uint8 [FINGERPRINT_BYTES]; the same pixels give the same bytes.
    """
    pixels = np.ascontiguousarray(pixels)
    height, width = pixels.shape[:2]
    rows = pixels[_sampled_rows(height)]
    sums = np.add.reduce(rows.reshape(_LUMA_SIDE, _ROWS_A_PIXEL, -1), axis=1, dtype=np.uint16)
    columns, weights = _sampled_columns(width)
    sampled = sums.reshape(_LUMA_SIDE, width, 3)[:, columns].astype(np.float32)
    small = (sampled.reshape(_LUMA_SIDE, -1) @ weights).reshape(_LUMA_SIDE, _LUMA_SIDE, 3)
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
    """[LUMA_SIDE * _ROWS_A_PIXEL] rows, denser near the centre of each thumbnail row.

    They are quantiles of the triangle that reaches to the centres of the two neighbours. So their
    plain sum is the thumbnail's linear filter. Rows beyond an edge are reflected.
    """
    share = (np.arange(_ROWS_A_PIXEL) + 0.5) / _ROWS_A_PIXEL
    triangle = np.where(share < 0.5, np.sqrt(2 * share) - 1, 1 - np.sqrt(2 - 2 * share))
    places = (np.arange(_LUMA_SIDE)[:, None] + 0.5 + triangle).ravel() * height / _LUMA_SIDE
    reflected = height - np.abs(height - np.abs(places))
    rows: npt.NDArray[np.intp] = np.clip(reflected, 0, height - 1).astype(np.intp)
    return rows


@functools.cache
def _sampled_columns(width: int) -> tuple[slice, Float32Array]:
    """The sampled columns, and weights [3 * columns, 3 * LUMA_SIDE] from RGB sums to YCbCr."""
    step = max(1, width // _COLUMNS_AT_LEAST)
    columns = slice(step // 2, None, step)
    places = np.arange(width)[columns, None] + 0.5
    scale = width / _LUMA_SIDE
    far = np.abs(places - (np.arange(_LUMA_SIDE) + 0.5) * scale) / max(scale, 1.0)
    triangle = np.maximum(0.0, 1.0 - far)
    triangle /= triangle.sum(axis=0) * _ROWS_A_PIXEL
    return columns, np.kron(triangle, _YCBCR).astype(np.float32)


def _checksum(pixels: UInt8Array, sums: npt.NDArray[np.uint16]) -> bytes:
    """A CRC of the sampled rows, and a sum of all bytes as 8-byte words, which is faster."""
    flat = pixels.reshape(-1)
    whole = len(flat) // 8 * 8
    total = np.add.reduce(flat[:whole].view(np.uint64))
    crc = zlib.crc32(flat[whole:].data, zlib.crc32(sums.data))
    return crc.to_bytes(4, "big") + int(total).to_bytes(8, "big")


def near_duplicates(fingerprints: UInt8Array) -> Int64Array:
    """Cluster pictures that are the same.

    Args:
        fingerprints: uint8 [m, FINGERPRINT_BYTES].

    Returns:
        [m] cluster numbers: the smallest row of the cluster. A picture without a duplicate has its
        own row.
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
    """[m]: for each row, the first row with the same bytes."""
    whole = np.ascontiguousarray(fingerprints).view(f"V{FINGERPRINT_BYTES}").ravel()
    _, first, inverse = np.unique(whole, return_index=True, return_inverse=True)
    return first[inverse.reshape(-1)].astype(np.int64)


def _is_textured(fingerprints: UInt8Array) -> npt.NDArray[np.bool_]:
    detailed = fingerprints[:, _THUMBNAIL_BYTES] < _SMOOTH
    return np.asarray(detailed & (contrast(fingerprints) >= _FLAT), dtype=bool)


def _joined(clusters: Int64Array, i: Int64Array, j: Int64Array) -> Int64Array:
    """The clusters after joining those of rows i[k] and j[k], for all k."""
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

    Between 1/48 and 1/12 of the width, photographs have 0.3 to 0.6. A picture that is out of focus,
    or enlarged from fewer than about 16 pixels, is smooth and has nearly 1.
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
