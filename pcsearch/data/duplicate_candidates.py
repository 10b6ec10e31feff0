"""Which pairs of thumbnails are worth comparing.

Of a few thousand, all that correlate. Of more, all pairs would take too long; there the signs of
a thumbnail's 63 lowest spatial frequencies (of its cosine transform) make a code. Copies of a
picture differ in few signs, those of frequencies it hardly has. The code is cut into three bands
of 21 signs; two pictures are candidates if they agree in a band, once some of the weakest signs
of one of them are turned over. That misses a few of the copies that were cropped the most.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import numpy.typing as npt

from pcsearch.data.dataset import Float32Array, Int64Array, UInt8Array
from pcsearch.data.duplicate_criterion import LEAST_CORRELATION, LUMA_BYTES, LUMA_SIDE

UInt64Array = npt.NDArray[np.uint64]

_BANDS = 3
_BAND_BITS = 21
_WEAK = 3
_DIFFERING_AT_MOST = 18  # of 63 signs; copies cropped by 4 % differ in 6 on average
_BUCKET_AT_MOST = 128  # of more, those with the nearest codes: no set of alike pictures costs n^2
_ROWS_AT_ONCE = 4096
_BLOCK_ROWS = 512
_ZERO = -0.5  # below zero, so that rounding does not decide the sign of what is not there


def candidate_pairs(
    thumbnails: UInt8Array, all_pairs_up_to: int = 4096
) -> Iterator[tuple[Int64Array, Int64Array, bool]]:
    """Yields rows i, rows j (both [k], i != j) and whether j's are to be turned left to right.

    Args:
        thumbnails: uint8 [m, LUMA_BYTES], brightness, with some contrast; without equal rows.
        all_pairs_up_to: the largest m of which all pairs are looked at.
    """
    if len(thumbnails) <= all_pairs_up_to:
        yield from _correlated_pairs(thumbnails)
    else:
        yield from _coded_pairs(thumbnails)


def _correlated_pairs(thumbnails: UInt8Array) -> Iterator[tuple[Int64Array, Int64Array, bool]]:
    values = thumbnails.astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)
    turned = values.reshape(-1, LUMA_SIDE, LUMA_SIDE)[:, :, ::-1].reshape(values.shape)
    for start in range(0, len(values), _BLOCK_ROWS):
        for others in (values, turned):
            products = values[start : start + _BLOCK_ROWS] @ others[start:].T
            i, j = np.nonzero(np.triu(products > LEAST_CORRELATION - 0.01, 1))
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


def _look_up(probes: UInt64Array, in_order: UInt64Array) -> tuple[Int64Array, Int64Array]:
    """(row of probes, place in the sorted codes) of every code in a probe's bucket."""
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


def _probes(rotated: UInt64Array, strengths: Float32Array, band: int) -> UInt64Array:
    """[k, 2**_WEAK] codes: the weakest signs of the band as they are and turned over."""
    in_band = strengths[:, band * _BAND_BITS : (band + 1) * _BAND_BITS]
    weakest = np.argpartition(in_band, _WEAK - 1, axis=1)[:, :_WEAK]
    places = (_BANDS * _BAND_BITS - 1 - weakest).astype(np.uint64)
    bits = np.uint64(1) << places
    turned = np.array(list(product((False, True), repeat=_WEAK)))
    masks = np.where(turned[None], bits[:, None, :], np.uint64(0))
    probes: UInt64Array = rotated[:, None] ^ np.bitwise_or.reduce(masks, axis=2)
    return probes


def _frequencies(thumbnails: UInt8Array) -> Float32Array:
    """[m, 63] strengths of the lowest frequencies, those of a band side by side."""
    waves = _waves()
    strengths = np.empty((len(thumbnails), waves.shape[1]), dtype=np.float32)
    for start in range(0, len(thumbnails), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        strengths[rows] = thumbnails[rows].astype(np.float32) @ waves
    return strengths


def _chosen() -> list[tuple[int, int]]:
    """(down, across) of the frequencies, in the order of the code's bits."""
    sides = range(LUMA_SIDE)
    ascending = sorted(product(sides, sides), key=lambda f: (f[0] ** 2 + f[1] ** 2, f))
    lowest = ascending[1 : 1 + _BANDS * _BAND_BITS]
    return [lowest[i] for band in range(_BANDS) for i in range(band, len(lowest), _BANDS)]


def _waves() -> Float32Array:
    """[LUMA_BYTES, 63]: the cosine of each chosen frequency."""
    places = np.arange(LUMA_SIDE) + 0.5
    waves = [
        np.outer(
            np.cos(np.pi * places * down / LUMA_SIDE), np.cos(np.pi * places * across / LUMA_SIDE)
        )
        for down, across in _chosen()
    ]
    return np.array(waves, dtype=np.float32).reshape(-1, LUMA_BYTES).T


def _odd_across() -> npt.NDArray[np.bool_]:
    """[63]: the frequencies whose sign turns when the picture is mirrored."""
    return np.array([across % 2 == 1 for _, across in _chosen()])


def _codes(signs: npt.NDArray[np.bool_]) -> UInt64Array:
    """[m] codes of 63 bits, the first sign highest."""
    codes = np.zeros(len(signs), dtype=np.uint64)
    for column in range(signs.shape[1]):
        codes = (codes << np.uint64(1)) | signs[:, column].astype(np.uint64)
    return codes


def _band_first(codes: UInt64Array, band: int) -> UInt64Array:
    """The codes, turned so that this band's bits are the highest."""
    bits, moved = _BANDS * _BAND_BITS, band * _BAND_BITS
    if moved == 0:
        return codes
    whole = np.uint64((1 << bits) - 1)
    return ((codes << np.uint64(moved)) & whole) | (codes >> np.uint64(bits - moved))


def _ones(codes: UInt64Array) -> UInt8Array:
    """How many bits of each code are set."""
    parts = np.ascontiguousarray(codes).view(np.uint16).reshape(-1, 4)
    ones: UInt8Array = _ONES[parts].sum(axis=1, dtype=np.uint8)
    return ones


_ONES = np.unpackbits(
    np.arange(1 << 16, dtype=np.uint16).view(np.uint8).reshape(-1, 2), axis=1
).sum(axis=1, dtype=np.uint8)
