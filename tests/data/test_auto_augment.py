"""RandAugment and TrivialAugment against torchvision's own classes, image by image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import InterpolationMode, RandAugment, TrivialAugmentWide

from pcsearch.data.augmentations import AUGMENTATIONS
from pcsearch.data.auto_augment import (
    MOST_MAGNITUDE,
    OPERATIONS,
    rand_augment_draws,
    strengths,
    trivial_augment_draws,
)
from pcsearch.data.loaders.operations import apply_operations, transformed

REFERENCES = {False: RandAugment(), True: TrivialAugmentWide()}
SIGNED = {"ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"} | {
    *("Brightness", "Color", "Contrast", "Sharpness"),
}


def pictures(number: int, side: int, seed: int = 0) -> torch.Tensor:
    """uint8 [n, 3, side, side]: half of them smooth, so that equalize and contrast matter."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randint(0, 256, (number, 3, side, side), generator=generator, dtype=torch.uint8)
    noise[::2] = noise[::2] // 4 + 60
    return noise


def by_torchvision(image: torch.Tensor, name: str, strength: float) -> torch.Tensor:
    """One operation on one image [3, H, W]."""
    return RandAugment()._apply_image_or_video_transform(
        image, name, strength, interpolation=InterpolationMode.NEAREST, fill={}
    )


def augmented(images: torch.Tensor, draws: np.ndarray) -> torch.Tensor:
    pixels = images.float()
    apply_operations(pixels, draws)
    return pixels


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("side", [8, 33, 224])
def test_the_strengths_are_torchvisions(side: int, wide: bool) -> None:
    space = REFERENCES[wide]._AUGMENTATION_SPACE
    assert tuple(space) == OPERATIONS
    assert {name for name, (_, signed) in space.items() if signed} == SIGNED
    for (values_of, _), found in zip(space.values(), strengths(side, wide), strict=True):
        values = values_of(MOST_MAGNITUDE + 1, side, side)
        expected = np.zeros(31) if values is None else np.asarray(values.double())
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_strengths_by_hand() -> None:
    """Magnitude 9 of 30: a shear of 0.09, 9 degrees, 150 / 331 of the side times 0.3."""
    table = strengths(331, wide=False)[:, 9]
    assert dict(zip(OPERATIONS, table.round(9).tolist(), strict=True)) == {
        "Identity": 0,
        "ShearX": 0.09,
        "ShearY": 0.09,
        "TranslateX": 45,
        "TranslateY": 45,
        "Rotate": 9,
        "Brightness": 0.27,
        "Color": 0.27,
        "Contrast": 0.27,
        "Sharpness": 0.27,
        "Posterize": 7,
        "Solarize": 0.7,
        "AutoContrast": 0,
        "Equalize": 0,
    }


@pytest.mark.parametrize("name", OPERATIONS[1:])
@pytest.mark.parametrize("wide", [False, True])
def test_each_operation_on_a_batch_is_torchvisions_on_each_image(name: str, wide: bool) -> None:
    images = pictures(5, 19)
    for level in (0, 7, 15, 30):
        strength = strengths(19, wide)[OPERATIONS.index(name), level]
        for sign in (1, -1) if name in SIGNED else (1,):
            draws = np.full((5, 1, 2), (OPERATIONS.index(name), sign * strength))
            expected = torch.stack([by_torchvision(one, name, sign * strength) for one in images])
            assert torch.equal(augmented(images, draws), expected.float())


@given(st.integers(0, 2**31), st.integers(1, 8), st.integers(1, 30))
@settings(max_examples=25, deadline=None)
def test_rand_augment_is_torchvisions_operations_in_their_order(
    seed: int, operations: int, magnitude: int
) -> None:
    uniform = np.random.default_rng(seed).random((6, AUGMENTATIONS["rand_augment"].columns))
    draws = rand_augment_draws(uniform, (operations, magnitude), 16)
    assert draws.shape == (6, operations, 2)
    images = pictures(6, 16, seed)
    found = augmented(images, draws)
    for image, result, drawn in zip(images, found, draws.tolist(), strict=True):
        for position, strength in drawn:
            image = by_torchvision(image, OPERATIONS[int(position)], strength)
        assert torch.equal(result, image.float())


@given(st.integers(0, 2**31), st.booleans(), st.sets(st.integers(0, 11), min_size=1))
@settings(max_examples=40, deadline=None)
def test_an_image_has_the_same_pixels_in_any_batch(seed: int, wide: bool, some: set[int]) -> None:
    rng = np.random.default_rng(seed)
    draws = (
        trivial_augment_draws(rng.random((12, 3)), (True,), 21)
        if wide
        else rand_augment_draws(rng.random((12, 16)), (3, 17), 21)
    )
    images, chosen = pictures(12, 21, seed), sorted(some)
    every, part = augmented(images, draws), augmented(images[chosen], draws[chosen])
    assert torch.equal(every[chosen], part)


def test_magnitude_0_changes_nothing() -> None:
    draws = rand_augment_draws(np.random.default_rng(0).random((50, 16)), (4, 0), 12)
    images = pictures(50, 12)
    assert torch.equal(augmented(images, draws), images.float())


@pytest.mark.parametrize("name", OPERATIONS[1:11])
def test_an_operation_of_strength_0_changes_nothing(name: str) -> None:
    """The others have no strength, or (Solarize) turn pure white at the least one."""
    images = pictures(4, 13)
    strength = strengths(13, wide=False)[OPERATIONS.index(name), 0]
    assert torch.equal(transformed(images, name, strength), images)


def test_every_operation_sign_and_magnitude_is_equally_likely() -> None:
    number = 60_000
    rng = np.random.default_rng(3)
    wide = trivial_augment_draws(rng.random((number, 3)), (True,), 64)[:, 0]
    counts = np.bincount(wide[:, 0].astype(int), minlength=14)
    assert ((counts - number / 14) ** 2 / (number / 14)).sum() < 34.5  # 13 d.f., p = 0.001
    rotations = wide[wide[:, 0] == OPERATIONS.index("Rotate"), 1]
    levels, counts = np.unique(np.abs(rotations).round(6), return_counts=True)
    np.testing.assert_allclose(levels, 4.5 * np.arange(31))
    expected = len(rotations) / 31
    assert ((counts - expected) ** 2 / expected).sum() < 59.7  # 30 d.f.
    assert abs((rotations < 0).mean() - 30 / 62) < 0.03
    two = rand_augment_draws(rng.random((number, 16)), (2, 10), 64)
    assert abs(np.corrcoef(two[:, 0, 0], two[:, 1, 0])[0, 1]) < 0.02
    assert set(np.abs(two[two[..., 0] == OPERATIONS.index("Rotate"), 1]).tolist()) == {10.0}


def test_the_first_operations_stay_when_more_are_asked_for() -> None:
    uniform = np.random.default_rng(5).random((9, 16))
    three, five = (rand_augment_draws(uniform, (n, 9), 32) for n in (3, 5))
    assert np.array_equal(three, five[:, :3])
