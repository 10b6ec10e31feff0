"""Colour jitter and random erasing against loops over images with torchvision's own functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp
from torch import Tensor
from torchvision.transforms import RandomErasing
from torchvision.transforms import functional as vision

from pcsearch.data import augmentations
from pcsearch.data.augmentations import jitter_colors
from pcsearch.data.loaders import EvalBatches, TrainBatches
from pcsearch.data.loaders.augment import _entries, draw_parameters, earlier_occurrences
from pcsearch.data.loaders.operations import apply_operations
from pcsearch.data.preprocessing import Preprocessing

PLAIN = Preprocessing(crop=8)
JITTER = (0.4, 0.5, 0.6)
ALL = replace(PLAIN, augment={"color_jitter": JITTER, "random_erasing": (0.5,)})
MODERN = replace(
    PLAIN,
    augment={
        "random_resized_crop": (0.1,),
        "rand_augment": (3, 12),
        "trivial_augment": (False,),
        **ALL.augment,
    },
)
TRIVIAL = replace(PLAIN, augment={"trivial_augment": (True,), "color_jitter": JITTER})
GREY_TOLERANCE = 1e-3
"""torchvision's weights of grey add up to 0.9999."""


def textures(number: int, side: int, low: int = 0, high: int = 256) -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.integers(low, high, (number, side, side, 3), dtype=np.uint8)


def train(images: np.ndarray, preprocessing: Preprocessing, **changes: object) -> TrainBatches:
    arguments = {"batch_size": 4, "pairing": "split_batch", "seed": 3, "device": "cpu"}
    indices = changes.pop("indices", np.arange(len(images)))
    labels = np.arange(len(images), dtype=np.int64)
    return TrainBatches(images, labels, indices, preprocessing, **(arguments | changes))


def by_image(batches: TrainBatches, epoch: int) -> dict[int, list[Tensor]]:
    seen: dict[int, list[Tensor]] = {}
    for images, labels in batches.epoch(epoch):
        for image, label in zip(images, labels.tolist(), strict=True):
            seen.setdefault(label, []).append(image)
    return seen


def torchvision_jitter(image: Tensor, factors: list[float]) -> Tensor:
    image = vision.adjust_brightness(image, factors[0])
    image = vision.adjust_contrast(image, factors[1])
    return vision.adjust_saturation(image, factors[2])


def jittered(images: np.ndarray, factors: Tensor) -> Tensor:
    """[n, 3, R, R] in [0, 1]."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float().contiguous()
    jitter_colors(pixels, factors)
    return pixels / 255


def unit(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


@pytest.mark.parametrize(
    "factors",
    [
        *([1, 1, 1], [0.6, 1, 1], [1.4, 1, 1], [1, 0.3, 1], [1, 1.3, 1], [1, 1, 0], [1, 1, 1.5]),
        *([1.2, 0.7, 1.3], [0.8, 1.2, 0.4], [0.5, 0.0, 1.0]),
    ],
)
def test_colours_equal_torchvision_where_nothing_is_clipped(factors: list[float]) -> None:
    images = textures(5, 9, low=90, high=150)
    expected = torch.stack([torchvision_jitter(image, factors) for image in unit(images)])
    assert expected.min() > 0
    assert expected.max() < 1
    found = jittered(images, torch.tensor([factors] * 5, dtype=torch.float64))
    torch.testing.assert_close(found, expected, rtol=0, atol=GREY_TOLERANCE)
    if factors == [1, 1, 1]:
        assert torch.equal(found, unit(images))


def test_each_image_has_its_own_factors() -> None:
    images = textures(6, 9, low=100, high=150)
    factors = torch.rand(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    factors = 0.7 + 0.5 * factors
    found = jittered(images, factors)
    for image, own, result in zip(unit(images), factors.tolist(), found, strict=True):
        expected = torchvision_jitter(image, own)
        torch.testing.assert_close(result, expected, rtol=0, atol=GREY_TOLERANCE)


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("factor", [0.2, 1.9])
def test_one_change_alone_is_clipped_as_by_torchvision(which: int, factor: float) -> None:
    images = textures(4, 9)
    factors = [1.0, 1.0, 1.0]
    factors[which] = factor
    expected = torch.stack([torchvision_jitter(image, factors) for image in unit(images)])
    found = jittered(images, torch.tensor([factors] * 4, dtype=torch.float64))
    torch.testing.assert_close(found, expected, rtol=0, atol=GREY_TOLERANCE)
    if factor > 1:
        assert found.max() == 1


def test_clipped_once_at_the_end() -> None:
    """Brightness doubles 200 to 400; contrast 0.5 brings it back, which torchvision cannot."""
    images = np.full((1, 4, 4, 3), 200, np.uint8)
    images[0, :2] = 0
    found = jittered(images, torch.tensor([[2.0, 0.5, 1.0]], dtype=torch.float64))
    assert found[0, 0, 3, 3] == 1  # 0.5 · 400 + 0.5 · 200 = 300
    assert found[0, 0, 0, 0] == pytest.approx(100 / 255)  # 0.5 · 0 + 0.5 · 200
    clipped_early = torchvision_jitter(unit(images)[0], [2.0, 0.5, 1.0])
    assert clipped_early[0, 0, 0] == pytest.approx(0.25, abs=1e-3)


@pytest.mark.parametrize("channels_last", [False, True])
def test_whole_path_equals_a_loop_over_images(channels_last: bool) -> None:
    """Crop, mirror, jitter, normalise, erase: by slices and torchvision, image by image."""
    images = textures(9, 14, low=110, high=150)
    preprocessing = replace(ALL, augment={**ALL.augment, "color_jitter": (0.2, 0.2, 0.2)})
    seen = by_image(train(images, preprocessing, channels_last=channels_last), 2)
    draws = draw_parameters(preprocessing, 14 - 8 + 1, 3, 2, np.arange(9))
    assert draws.crops.flips is not None
    for row in range(9):
        top, left = draws.crops.tops[row], draws.crops.lefts[row]
        image = unit(images[row : row + 1])[0, :, top : top + 8, left : left + 8]
        image = vision.hflip(image) if draws.crops.flips[row] else image
        image = torchvision_jitter(image, draws.augmented["color_jitter"][row].tolist())
        image = vision.normalize(image, list(PLAIN.mean), list(PLAIN.std))
        if draws.augmented["random_erasing"][row, 2]:
            image = vision.erase(
                image, *draws.augmented["random_erasing"][row].tolist(), torch.tensor(0.0)
            )
        (found,) = seen[row]
        torch.testing.assert_close(found, image, rtol=0, atol=GREY_TOLERANCE / min(PLAIN.std))
    assert 0 < (draws.augmented["random_erasing"][:, 2] > 0).sum() < 9


@pytest.mark.parametrize("preprocessing", [ALL, MODERN, TRIVIAL])
def test_memory_formats_agree_bit_for_bit(preprocessing: Preprocessing) -> None:
    images = textures(9, 14)
    planes = list(train(images, preprocessing).epoch(1))
    lines = list(train(images, preprocessing, channels_last=True).epoch(1))
    for (one, _), (other, _) in zip(planes, lines, strict=True):
        assert torch.equal(one, other)
        assert one.is_contiguous()
        assert other.is_contiguous(memory_format=torch.channels_last)


@given(
    st.integers(0, 2**31),
    st.integers(0, 50),
    st.integers(1, 9),
    st.sets(st.integers(0, 11), min_size=2),
    st.booleans(),
    st.sampled_from([ALL, MODERN, TRIVIAL]),
)
@settings(max_examples=60, deadline=None)
def test_changes_depend_on_seed_epoch_and_image_alone(
    seed: int,
    epoch: int,
    batch_size: int,
    rows: set[int],
    channels_last: bool,
    preprocessing: Preprocessing,
) -> None:
    images = textures(12, 11)
    every = by_image(train(images, preprocessing, seed=seed), epoch)
    some = train(
        images[: max(rows) + 1],
        preprocessing,
        seed=seed,
        batch_size=batch_size,
        indices=np.array(sorted(rows)),
        channels_last=channels_last,
    )
    for label, (image,) in by_image(some, epoch).items():
        assert torch.equal(image, every[label][0])


@given(st.sets(st.integers(0, 999), max_size=12), st.integers(1, 22), st.integers(0, 99))
def test_few_lines_of_a_table_are_those_of_the_whole(
    chosen: set[int], columns: int, seed: int
) -> None:
    rows = np.random.default_rng(seed).permutation(np.array(sorted(chosen), dtype=np.int64))
    whole = np.random.default_rng(seed).random((1000, columns))
    few = _entries(np.random.default_rng(seed), rows, 1000, columns)
    assert np.array_equal(few, whole[rows])
    every = _entries(np.random.default_rng(seed), np.arange(1000), 1000, columns)
    assert np.array_equal(every, whole)


def test_pairings_share_the_first_draw_and_the_second_is_new() -> None:
    images = textures(20, 11)
    once = by_image(train(images, ALL), 5)
    twice = by_image(train(images, ALL, pairing="two_shuffles"), 5)
    for row in range(20):
        first, second = twice[row]
        assert torch.equal(first, once[row][0])
        assert not torch.equal(first, second)


def test_each_kind_of_change_leaves_the_others_as_they_are() -> None:
    rows = np.array([4, 0, 4, 7, 2])
    every = draw_parameters(ALL, 5, 8, 3, rows)
    plain = draw_parameters(PLAIN, 5, 8, 3, rows)
    assert "color_jitter" not in plain.augmented
    assert "random_erasing" not in plain.augmented
    for name in ("rows", "tops", "lefts", "flips"):
        assert np.array_equal(getattr(every.crops, name), getattr(plain.crops, name))
    without_erasing = draw_parameters(replace(ALL, augment={"color_jitter": JITTER}), 5, 8, 3, rows)
    assert np.array_equal(
        without_erasing.augmented["color_jitter"], every.augmented["color_jitter"]
    )
    without_jitter = draw_parameters(
        replace(ALL, augment={"random_erasing": (0.5,)}, flip=False), 5, 8, 3, rows
    )
    assert np.array_equal(
        without_jitter.augmented["random_erasing"], every.augmented["random_erasing"]
    )
    brightness = draw_parameters(
        replace(ALL, augment={"color_jitter": (0.4, 0.0, 0.0)}), 5, 8, 3, rows
    ).augmented["color_jitter"]
    assert np.array_equal(brightness[:, 0], every.augmented["color_jitter"][:, 0])
    assert (brightness[:, 1:] == 1).all()


@pytest.mark.parametrize("name", ["rand_augment", "trivial_augment"])
def test_operations_come_after_the_mirror_and_before_colours(name: str) -> None:
    settings = {"rand_augment": (2, 20), "trivial_augment": (True,)}[name]
    chosen = replace(PLAIN, augment={name: settings, "color_jitter": (0.5, 0.0, 0.0)})
    images = textures(9, 14)
    seen = by_image(train(images, chosen), 2)
    draws = draw_parameters(chosen, 14 - 8 + 1, 3, 2, np.arange(9))
    assert draws.crops.flips is not None
    for row in range(9):
        top, left = draws.crops.tops[row], draws.crops.lefts[row]
        image = torch.from_numpy(images[row]).permute(2, 0, 1)[:, top : top + 8, left : left + 8]
        image = vision.hflip(image) if draws.crops.flips[row] else image
        pixels = image[None].float().contiguous()
        apply_operations(pixels, draws.augmented[name][row : row + 1])
        brighter = (pixels[0] * float(draws.augmented["color_jitter"][row, 0])).clamp(0, 255) / 255
        expected = vision.normalize(brighter, list(PLAIN.mean), list(PLAIN.std))
        torch.testing.assert_close(seen[row][0], expected, rtol=0, atol=1e-5)


def test_evaluation_changes_nothing() -> None:
    images, labels = textures(5, 10), np.arange(5)
    arguments = {"batch_size": 3, "device": "cpu"}
    plain = list(EvalBatches(images, labels, None, PLAIN, **arguments))
    every = list(EvalBatches(images, labels, None, ALL, **arguments))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(plain, every, strict=True))


def test_factors_are_uniform_in_their_ranges() -> None:
    jitter = (0.4, 1.7, 0.0)
    factors = draw_parameters(
        replace(PLAIN, augment={"color_jitter": jitter}), 5, 0, 1, np.arange(20_000)
    ).augmented["color_jitter"]
    assert factors is not None
    for column, (low, high) in enumerate([(0.6, 1.4), (0.0, 2.7)]):
        counts, _ = np.histogram(factors[:, column], bins=20, range=(low, high))
        assert counts.sum() == 20_000
        assert ((counts - 1000) ** 2 / 1000).sum() < 43.8  # 19 degrees of freedom, p = 0.001
    assert (factors[:, 2] == 1).all()
    assert abs(np.corrcoef(factors[:, 0], factors[:, 1])[0, 1]) < 0.03


def torchvision_rectangles(side: int, number: int) -> Iterator[tuple[int, int, int, int]]:
    """Of its RandomErasing."""
    image = torch.zeros(3, side, side)
    for _ in range(number):
        yield RandomErasing.get_params(image, (0.02, 0.33), (0.3, 3.3), [0.0])[:4]


def test_rectangles_are_distributed_as_torchvisions() -> None:
    side, number = 64, 3000
    erased = draw_parameters(
        replace(PLAIN, crop=side, augment={"random_erasing": (1.0,)}), 1, 0, 1, np.arange(number)
    ).augmented["random_erasing"]
    assert erased is not None
    with torch.random.fork_rng():
        torch.manual_seed(0)
        reference = np.array(list(torchvision_rectangles(side, number)))
    areas, others = (sizes[:, 2] * sizes[:, 3] / side**2 for sizes in (erased, reference))
    assert areas.min() > 0.015
    assert areas.max() < 0.345
    assert ks_2samp(areas, others).pvalue > 0.001
    for column in range(4):
        assert ks_2samp(erased[:, column], reference[:, column]).pvalue > 0.001


def test_erasing_happens_with_its_probability_inside_the_crop() -> None:
    for side in (1, 2, 7, 33):
        chosen = replace(PLAIN, crop=side, augment={"random_erasing": (0.25,)})
        erased = draw_parameters(chosen, 1, 0, 1, np.arange(4000)).augmented["random_erasing"]
        assert erased is not None
        top, left, height, width = erased.T
        assert set(np.sign([height.min(), top.min(), left.min()])) <= {0, 1}
        assert max(height.max(), width.max()) < side
        assert (top + height <= side).all()
        assert (left + width <= side).all()
        for first, length in ((top, height), (left, width)):
            ends = (first + length)[length > 0]
            assert side < 3 or {first[length > 0].min(), ends.max()} == {0, side}
    assert 0.22 < (height > 0).mean() < 0.28
    assert ((height > 0) == (width > 0)).all()


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("way", ["_erase_each", "_erase_masked", "erase"])
def test_rectangles_are_set_to_zero(way: str, channels_last: bool) -> None:
    images = torch.rand(4, 3, 6, 6) + 1
    if channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    rectangles = torch.tensor([[0, 0, 2, 3], [3, 1, 0, 0], [4, 2, 2, 4], [1, 5, 3, 1]])
    expected = images.clone()
    for image, (top, left, height, width) in zip(expected, rectangles.tolist(), strict=True):
        for line in range(top, top + height):
            for column in range(left, left + width):
                image[:, line, column] = 0
    vars(augmentations)[way](images, rectangles)
    assert torch.equal(images, expected)


@given(st.lists(st.integers(0, 5), max_size=30))
def test_earlier_occurrences(rows: list[int]) -> None:
    expected = [rows[:position].count(row) for position, row in enumerate(rows)]
    assert earlier_occurrences(np.array(rows, dtype=np.int64)).tolist() == expected
