"""The field guide's pictures: pure, boxed, at any size, and told apart by small marks only."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from pcsearch.data.fieldguide import FieldguideOptions, contact_sheet, draw_bird, species_names
from pcsearch.data.fieldguide.drawing import empty_scene, portrait

SMALL = FieldguideOptions(size=32)


def _digest(options: FieldguideOptions, species: int, index: int) -> str:
    image, box = draw_bird(options, species, index)
    return hashlib.sha256(image.tobytes() + repr(box).encode()).hexdigest()


def _pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=np.float64)


def test_a_picture_depends_on_its_arguments_alone() -> None:
    wanted = [(species, index) for species in (0, 7, 19) for index in (0, 1, 90)]
    forwards = [_digest(SMALL, *which) for which in wanted]
    backwards = [_digest(SMALL, *which) for which in reversed(wanted)]
    assert forwards == backwards[::-1]
    assert len(set(forwards)) == len(wanted)


def test_another_process_draws_the_same_picture() -> None:
    code = (
        "import hashlib; from pcsearch.data.fieldguide import FieldguideOptions, draw_bird;"
        "image, box = draw_bird(FieldguideOptions(size=32), 3, 5);"
        "print(hashlib.sha256(image.tobytes() + repr(box).encode()).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == _digest(SMALL, 3, 5)


def test_more_species_or_images_leave_the_pictures_as_they_are() -> None:
    more = FieldguideOptions(size=32, species=50, images_per_species=300, imbalance=0.5)
    assert _digest(more, 4, 2) == _digest(SMALL, 4, 2)


def test_seeds_differ() -> None:
    assert _digest(SMALL, 0, 0) != _digest(FieldguideOptions(size=32, seed=1), 0, 0)


@pytest.mark.parametrize("size", [32, 40, 48, 63, 64, 100, 128, 160, 224, 256])
def test_every_size_gives_a_picture_with_its_box_inside(size: int) -> None:
    options = FieldguideOptions(size=size)
    for index in range(4):
        image, (x, y, width, height) = draw_bird(options, index, index)
        assert image.mode == "RGB"
        assert image.size == (size, size)
        assert x >= 0
        assert y >= 0
        assert x + width <= size
        assert y + height <= size
        assert 0.6 * size <= max(width, height) <= 0.97 * size
        assert min(width, height) >= 0.3 * size


def test_the_same_bird_at_every_size() -> None:
    """Size is resolution: the box scales with it."""
    _, small = draw_bird(FieldguideOptions(size=64), 2, 3)
    _, large = draw_bird(FieldguideOptions(size=256), 2, 3)
    np.testing.assert_allclose(4 * np.array(small), large, atol=6)


@pytest.mark.parametrize("species", range(5))
def test_the_box_holds_what_the_bird_changes_and_no_more(species: int) -> None:
    options = FieldguideOptions()
    for index in range(4):
        image, (x, y, width, height) = draw_bird(options, species, index)
        change = np.abs(_pixels(image) - _pixels(empty_scene(options, species, index))).sum(axis=-1)
        left, top, right, bottom = int(x), int(y), round(x + width + 1), round(y + height + 1)
        assert change[top:bottom, left:right].sum() >= 0.999 * change.sum()
        assert change.sum() > 0
        rows, columns = np.nonzero(change > 6)
        # Leaves may hide an end of the bird, never all of it.
        assert columns.max() - columns.min() >= 0.5 * width
        assert rows.max() - rows.min() >= 0.5 * height


def test_no_such_picture() -> None:
    for species, index in ((-1, 0), (20, 0), (0, -1)):
        with pytest.raises(ValueError, match="no picture"):
            draw_bird(SMALL, species, index)


def test_every_two_species_look_different() -> None:
    """Their portraits differ visibly somewhere: at least 0.3 % of the pixels, by 30 grey levels."""
    options = FieldguideOptions()
    portraits = [_pixels(portrait(options, species, 96)) for species in range(options.species)]
    for first in range(options.species):
        for second in range(first):
            change = np.abs(portraits[first] - portraits[second]).max(axis=-1)
            assert (change > 30).mean() > 0.003, (first, second)


def test_raw_pixels_do_not_tell_the_species() -> None:
    """Pose, light and background drown the marks for a nearest-centroid rule on pixels."""
    count, shown = 8, 12
    options = FieldguideOptions(size=32, species=count)
    pictures = np.array(
        [
            [_pixels(draw_bird(options, species, index)[0]).ravel() for index in range(2 * shown)]
            for species in range(count)
        ]
    )
    centroids = pictures[:, :shown].mean(axis=1)
    tests = pictures[:, shown:].reshape(count * shown, -1)
    nearest = ((tests[:, None] - centroids) ** 2).sum(axis=-1).argmin(axis=1)
    accuracy = (nearest == np.repeat(np.arange(count), shown)).mean()
    assert accuracy < 0.45


def test_contact_sheet_has_a_row_a_species() -> None:
    two = contact_sheet(SMALL, columns=3, rows=2)
    four = contact_sheet(SMALL, columns=3, rows=4)
    assert two.width == four.width
    assert four.height > two.height
    assert contact_sheet(SMALL, 1, 99).height == contact_sheet(SMALL, 1, SMALL.species).height
    picture = _pixels(draw_bird(SMALL, 0, 0)[0])
    windows = np.lib.stride_tricks.sliding_window_view(_pixels(two), picture.shape)[..., 0, :, :, :]
    assert any((window == picture).all() for row in windows for window in row)
    assert len(species_names(SMALL)) == SMALL.species
