"""Random resized crops against a loop over images with torchvision's own class and kernels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional as vision

from pcsearch.data.augmentations import AUGMENTATIONS, random_windows
from pcsearch.data.loaders import EvalBatches
from pcsearch.data.loaders.augment import draw_parameters
from pcsearch.data.preprocessing import Preprocessing
from tests.data.loaders.test_augment import by_image, textures, train

PLAIN = Preprocessing(crop=16)
CROPS = replace(PLAIN, augment={"random_resized_crop": (0.1,)})


def windows(number: int, least: float, side: int) -> np.ndarray:
    columns = AUGMENTATIONS["random_resized_crop"].columns
    return random_windows(np.random.default_rng(7).random((number, columns)), (least,), side)


@pytest.mark.parametrize("channels_last", [False, True])
def test_whole_path_equals_a_loop_over_images(channels_last: bool) -> None:
    """Cut, resize, mirror, normalise: by torchvision's kernels, image by image."""
    images = textures(9, 40)
    seen = by_image(train(images, CROPS, channels_last=channels_last), 2)
    draws = draw_parameters(CROPS, 40 - 16 + 1, 3, 2, np.arange(9)).crops
    assert draws.sizes is not None
    assert draws.flips is not None
    assert 0 < draws.flips.sum() < 9
    for row in range(9):
        image = torch.from_numpy(images[row]).permute(2, 0, 1)
        place = (draws.tops[row], draws.lefts[row], *draws.sizes[row])
        image = vision.resized_crop(image, *map(int, place), [16, 16], antialias=True)
        image = vision.horizontal_flip(image) if draws.flips[row] else image
        expected = vision.normalize(image.float() / 255, list(PLAIN.mean), list(PLAIN.std))
        torch.testing.assert_close(seen[row][0], expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("least", [0.08, 0.5, 0.9])
def test_windows_are_distributed_as_torchvisions(least: float) -> None:
    side, number = 64, 3000
    found = windows(number, least, side)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        image = torch.zeros(3, side, side)
        reference = np.array(
            [
                RandomResizedCrop.get_params(image, [least, 1.0], [3 / 4, 4 / 3])
                for _ in range(number)
            ]
        )
    for column in range(4):
        assert ks_2samp(found[:, column], reference[:, column]).pvalue > 0.001
    area = [(one[:, 2] * one[:, 3]) / side**2 for one in (found, reference)]
    assert ks_2samp(*area).pvalue > 0.001


def test_windows_lie_in_the_image_with_the_area_and_the_aspect_asked_for() -> None:
    for side in (8, 57, 256):
        top, left, height, width = windows(5000, 0.25, side).T
        assert (top >= 0).all()
        assert (left >= 0).all()
        assert (top + height <= side).all()
        assert (left + width <= side).all()
        assert ((height + 1) * (width + 1) >= 0.25 * side**2).all()
        assert ((width + 0.5) / (height - 0.5) >= 3 / 4).all()
        assert ((width - 0.5) / (height + 0.5) <= 4 / 3).all()


def test_windows_by_hand() -> None:
    """Area 0.25, aspect 1 in an image of 8 pixels: 4 by 4, at 1/2 of the 5 places: 2."""
    uniform = np.zeros((3, 22))
    uniform[0, 1::2] = 0.5  # exp of the middle of log 3/4 and log 4/3 is 1
    uniform[:, -2:] = 0.5
    uniform[1, 0:2] = 0.999, 0.0  # nearly the whole area at aspect 3/4 is too high
    uniform[1, 3] = 0.5  # so the second try counts
    uniform[2, 0:20:2], uniform[2, 1:20:2] = 0.999, 0.0  # no try fits
    found = random_windows(uniform, (0.25,), 8)
    assert found.tolist() == [[2, 2, 4, 4], [2, 2, 4, 4], [0, 0, 8, 8]]


def test_a_window_of_the_crops_size_is_not_resized() -> None:
    images = textures(4, 16)
    whole = replace(PLAIN, flip=False, augment={"random_resized_crop": (1.0,)})
    for row, (found,) in by_image(train(images, whole), 1).items():
        plain = by_image(train(images, replace(PLAIN, flip=False)), 1)[row][0]
        assert torch.equal(found, plain)


def test_flips_and_other_draws_stay_and_evaluation_is_central() -> None:
    rows = np.array([4, 0, 4, 7, 2])
    plain, crops = (draw_parameters(one, 25, 8, 3, rows).crops for one in (PLAIN, CROPS))
    assert plain.sizes is None
    assert crops.sizes is not None
    assert np.array_equal(plain.flips, crops.flips)
    assert not np.array_equal(crops.sizes[0], crops.sizes[2])  # the second time is drawn anew
    images = textures(5, 20)
    pair = [
        list(EvalBatches(images, np.arange(5), None, one, batch_size=3, device="cpu"))
        for one in (PLAIN, CROPS)
    ]
    assert all(torch.equal(a[0], b[0]) for a, b in zip(*pair, strict=True))
