from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from pcsearch.data.cache.resizing import resized

from ..image_files import noise

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


@pytest.mark.parametrize("shape", [(1, 300), (300, 1)])
def test_very_long_images(shape: tuple[int, int]) -> None:
    image = noise(*shape, 0)
    keep = Compose([Resize(16, InterpolationMode.BILINEAR), CenterCrop(16)])
    assert (np.asarray(resized(image, 16, "keep")) == np.asarray(keep(image))).all()
