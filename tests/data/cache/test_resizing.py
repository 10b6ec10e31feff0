from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from pcsearch.data.cache.metadata import resized
from tests.data.image_files import noise

SIDES = st.integers(1, 90)


@settings(max_examples=150, deadline=None)
@given(height=SIDES, width=SIDES, resize=st.integers(1, 64))
@example(height=375, width=500, resize=256)
@example(height=333, width=500, resize=255)
@example(height=32, width=32, resize=32)
@example(height=32, width=35, resize=32)
def test_pixels_equal_torchvisions(height: int, width: int, resize: int) -> None:
    image = noise(height, width, height * 1000 + width)
    warp = Resize((resize, resize), InterpolationMode.BILINEAR)
    keep = Compose([Resize(resize, InterpolationMode.BILINEAR), CenterCrop(resize)])
    assert (np.asarray(resized(image, resize, "warp")) == np.asarray(warp(image))).all()
    assert (np.asarray(resized(image, resize, "keep")) == np.asarray(keep(image))).all()


@pytest.mark.parametrize("shape", [(1, 100), (100, 1)])
def test_long_images(shape: tuple[int, int]) -> None:
    image = noise(*shape, 0)
    keep = Compose([Resize(16, InterpolationMode.BILINEAR), CenterCrop(16)])
    assert (np.asarray(resized(image, 16, "keep")) == np.asarray(keep(image))).all()


@pytest.mark.parametrize(("shape", "said"), [((1, 101), "101 x 1"), ((50_000, 1), "1 x 50000")])
def test_a_strip_is_refused_before_it_fills_the_memory(shape: tuple[int, int], said: str) -> None:
    image = noise(*shape, 0)
    with pytest.raises(OSError, match=f"{said} pixels are too long a strip"):
        resized(image, 256, "keep")
    assert resized(image, 8, "warp").size == (8, 8)
