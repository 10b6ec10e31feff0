from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from pcsearch.data.catalog import DataOptions, open_dataset
from pcsearch.data.dataset import ImageSource
from pcsearch.data.duplicates import (
    FINGERPRINT_BYTES,
    LUMA_BYTES,
    candidate_pairs,
    fingerprint,
    mirrored,
    near_duplicates,
    same_picture,
)
from tests.data.image_files import CUB_ROOT

CHECKSUM = slice(FINGERPRINT_BYTES - 12, FINGERPRINT_BYTES)
SMOOTHNESS = FINGERPRINT_BYTES - 13


def picture(seed: int, width: int = 250, height: int = 190) -> Image.Image:
    """Blobs and edges of all sizes, as photographs have them."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    for side, weight in ((3, 1.0), (6, 0.8), (12, 0.6), (30, 0.45), (80, 0.35)):
        coarse = Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
        total += weight * np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    return Image.fromarray((total / 3.2).astype(np.uint8))


def pixels(image: Image.Image, side: int = 256) -> np.ndarray:
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def cropped(image: Image.Image, share: float) -> Image.Image:
    width, height = image.size
    dx, dy = round(width * share / 2), round(height * share / 2)
    return image.crop((dx, dy, width - dx, height - dy))


def smaller(image: Image.Image) -> Image.Image:
    return image.resize((image.width * 4 // 5, image.height * 4 // 5), Image.Resampling.LANCZOS)


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "quality 50": lambda image: jpeg(image, 50),
    "80 %": smaller,
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.05),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.95),
    "cropped": lambda image: cropped(image, 0.03),
    "mirrored": ImageOps.mirror,
}


def naive_clusters(fingerprints: np.ndarray) -> list[int]:
    """The rule for every pair, without any index."""
    m = len(fingerprints)
    clusters = list(range(m))
    textured = [
        row[SMOOTHNESS] < round(0.75 * 255) and row[:LUMA_BYTES].std() >= 8 for row in fingerprints
    ]
    for i in range(m):
        for j in range(i):
            a, b = fingerprints[[i]], fingerprints[[j]]
            same = (a == b).all()
            if textured[i] and textured[j]:
                same = same or same_picture(a, b)[0] or same_picture(a, mirrored(b))[0]
            if same:
                kept, dropped = sorted((clusters[i], clusters[j]))
                clusters = [kept if cluster == dropped else cluster for cluster in clusters]
    return clusters


@pytest.mark.parametrize("change", COPIES.values(), ids=COPIES)
def test_copies_are_found_and_different_pictures_are_not(
    change: Callable[[Image.Image], Image.Image],
) -> None:
    pictures = [picture(seed) for seed in range(12)]
    rows = [fingerprint(pixels(image)) for image in [*pictures, *map(change, pictures)]]
    assert near_duplicates(np.array(rows)).tolist() == [*range(12), *range(12)]


def test_fingerprint_is_deterministic_and_of_the_stated_kind() -> None:
    one = pixels(picture(0))
    assert fingerprint(one).shape == (FINGERPRINT_BYTES,)
    assert fingerprint(one).dtype == np.uint8
    assert fingerprint(one).tolist() == fingerprint(one.copy()).tolist()
    assert fingerprint(np.asfortranarray(one)).tolist() == fingerprint(one).tolist()
    assert FINGERPRINT_BYTES <= 256


@pytest.mark.parametrize("side", [1, 2, 8, 12, 31, 64, 448])
def test_pictures_of_any_side(side: int) -> None:
    rows = np.array([fingerprint(pixels(picture(seed), side)) for seed in (0, 1, 0)])
    assert near_duplicates(rows).tolist() == [0, 1, 0]


def test_of_flat_and_smooth_pictures_only_equal_ones_are_duplicates() -> None:
    flat = [np.full((64, 64, 3), level, dtype=np.uint8) for level in (0, 0, 1, 255, 254)]
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[None, :, None] * 3, (64, 64, 3))
    smooth = [ramp, ramp + np.uint8(1), ramp]
    rows = np.array([fingerprint(one) for one in [*flat, *smooth]])
    assert near_duplicates(rows).tolist() == [0, 0, 2, 3, 4, 5, 6, 5]


def test_no_fingerprints() -> None:
    assert near_duplicates(np.zeros((0, FINGERPRINT_BYTES), dtype=np.uint8)).tolist() == []


def some_fingerprints(seed: int, m: int, noises: tuple[int, ...] = (0, 1, 3)) -> np.ndarray:
    """A few pictures and copies of them with noise of every strength, and some flat."""
    rng = np.random.default_rng(seed)
    sources = np.array([fingerprint(pixels(picture(s % 7), 64)) for s in range(7)])
    rows = sources[rng.integers(0, 7, m)]
    noise = rng.normal(0, 1, rows.shape) * rng.choice(noises, (m, 1))
    noise[:, SMOOTHNESS:] = 0
    rows = np.clip(rows + noise, 0, 255).astype(np.uint8)
    rows[rng.random(m) < 0.3] = mirrored_rows(rows[rng.random(m) < 0.3][:1])
    rows[rng.random(m) < 0.1, SMOOTHNESS] = 255
    rows[rng.random(m) < 0.1, :LUMA_BYTES] = 100
    return rows


def mirrored_rows(rows: np.ndarray) -> np.ndarray:
    if len(rows) == 0:
        return np.zeros((1, FINGERPRINT_BYTES), dtype=np.uint8)
    return np.concatenate([mirrored(rows), rows[:, SMOOTHNESS:]], axis=1)


@given(st.integers(0, 2**32), st.integers(1, 25))
@settings(max_examples=25, deadline=None)
def test_clusters_are_those_of_all_pairs(seed: int, m: int) -> None:
    rows = some_fingerprints(seed, m)
    assert near_duplicates(rows).tolist() == naive_clusters(rows)


@given(st.integers(0, 2**32), st.integers(1, 25))
@settings(max_examples=15, deadline=None)
def test_clusters_of_barely_similar_pictures_are_those_of_all_pairs(seed: int, m: int) -> None:
    rows = some_fingerprints(seed, m, (0, 6, 10, 15))
    assert near_duplicates(rows).tolist() == naive_clusters(rows)


@given(st.integers(0, 2**32))
@settings(max_examples=15, deadline=None)
def test_clusters_do_not_depend_on_the_order(seed: int) -> None:
    rows = some_fingerprints(seed, 30)
    order = np.random.default_rng(seed).permutation(30)
    here, there = near_duplicates(rows), near_duplicates(rows[order])
    assert ((here[order][:, None] == here[order]) == (there[:, None] == there)).all()


def test_many_alike_pictures_are_one_cluster_quickly() -> None:
    rng = np.random.default_rng(0)
    rows = np.repeat(fingerprint(pixels(picture(3)))[None], 600, axis=0)
    rows[:, :LUMA_BYTES] += rng.integers(0, 3, (600, LUMA_BYTES), dtype=np.uint8)
    assert not near_duplicates(rows).any()
    compared = sum(len(i) for i, _, _ in candidate_pairs(rows[:, :LUMA_BYTES], 0))
    assert compared <= 600 * 128 * 8 * 3 * 2


def prints_of(images: ImageSource, count: int) -> np.ndarray:
    chosen = np.linspace(0, len(images) - 1, count).astype(int)
    return np.array([fingerprint(pixels(images.image(int(i)))) for i in chosen])


def test_digits_have_no_duplicates() -> None:
    rows = prints_of(open_dataset("digits", DataOptions()).train.images, 1438)
    assert near_duplicates(rows).tolist() == list(range(1438))


def test_drawings_have_no_duplicates() -> None:
    rows = prints_of(open_dataset("fieldguide", DataOptions()).train.images, 150)
    assert near_duplicates(rows).tolist() == list(range(150))


@pytest.mark.real
@pytest.mark.skipif(not (CUB_ROOT / "CUB_200_2011").is_dir(), reason="no real images here")
def test_photographs_and_their_copies() -> None:
    images = open_dataset("cub200", DataOptions(root=CUB_ROOT)).train.images
    photos = [images.image(i) for i in range(0, 300, 3)]
    rows = [fingerprint(pixels(photo)) for photo in photos]
    copies = [fingerprint(pixels(jpeg(cropped(photo, 0.02), 75))) for photo in photos]
    clusters = near_duplicates(np.array([*rows, *copies]))
    assert clusters[:100].tolist() == list(range(100))
    assert (clusters[100:] == np.arange(100)).mean() >= 0.95
    assert set(clusters[100:].tolist()) <= set(range(200))


@pytest.mark.parametrize("side", [5, 64, 250, 256])
def test_checksum_tells_flat_pictures_apart_wherever_they_differ(side: int) -> None:
    one = np.zeros((side, side, 3), dtype=np.uint8)
    first = fingerprint(one)
    for row in range(side):
        other = one.copy()
        other[row, side - 1 - row] = 1
        assert fingerprint(other)[CHECKSUM].tolist() != first[CHECKSUM].tolist()


def test_thumbnail_is_that_of_a_resize() -> None:
    """Also for the strongest colours, whose chroma lies at the ends of the range."""
    corners = np.array([[r, g, b] for r in (0, 255) for g in (0, 255) for b in (0, 255)], np.uint8)
    blocks = np.resize(corners, (24, 24, 3)).repeat(8, axis=0).repeat(8, axis=1)
    for one in (blocks, pixels(picture(1), 192), *(np.full((64, 64, 3), c) for c in corners)):
        small = Image.fromarray(one).resize((12, 12), Image.Resampling.BILINEAR).convert("YCbCr")
        difference = fingerprint(one)[:LUMA_BYTES].reshape(12, 12) - np.asarray(small)[..., 0] * 1.0
        assert np.abs(difference).mean() < 3
        chroma = fingerprint(one)[LUMA_BYTES:SMOOTHNESS].reshape(6, 6, 2)
        expected = np.asarray(small)[..., 1:].reshape(6, 2, 6, 2, 2).mean(axis=(1, 3))
        assert np.abs(chroma - expected).mean() < 3


def test_rule_is_symmetric() -> None:
    rows = some_fingerprints(1, 40)
    i, j = np.triu_indices(40, 1)
    assert (same_picture(rows[i], rows[j]) == same_picture(rows[j], rows[i])).all()


def test_module_needs_no_torch() -> None:
    source = Path(__file__).parents[2] / "pcsearch" / "data" / "duplicates.py"
    assert "import torch" not in source.read_text()


@pytest.mark.parametrize("turned", [False, True])
def test_codes_lead_to_the_copies_among_many(turned: bool) -> None:
    images = [picture(seed, 64, 64) for seed in range(60)]
    rows = np.array([fingerprint(pixels(image, 64)) for image in images])[:, :LUMA_BYTES]
    copies = [ImageOps.mirror(image) if turned else image for image in images]
    again = np.array([fingerprint(pixels(jpeg(copy, 75), 64)) for copy in copies])
    found = set()
    for i, j, mirror in candidate_pairs(np.concatenate([rows, again[:, :LUMA_BYTES]]), 0):
        assert (i != j).all()
        if mirror == turned:
            found |= {tuple(sorted(pair)) for pair in zip(i.tolist(), j.tolist(), strict=True)}
    assert {(i, i + 60) for i in range(60)} <= found
    assert len(found) < 600, "far fewer than the 7,140 pairs that there are"
