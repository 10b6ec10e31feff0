"""Evaluation sees the very pixels that torchvision's transforms give, from file to network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import (
    CenterCrop,
    Compose,
    Normalize,
    PILToTensor,
    Resize,
    ToTensor,
)

from pcsearch.data.cache import ImageStore, ensure_store
from pcsearch.data.loaders import EvalBatches
from pcsearch.data.preprocessing import Preprocessing
from pcsearch.data.sources import FileImages
from pcsearch.models import build_backbone
from pcsearch.training.evaluate import evaluate
from tests.data.image_files import CUB_ROOT, noise

MOBILENET = CUB_ROOT.parent / "weights" / "mobilenet_v2-imagenet-fp16.pth"
SIZES = [(40, 52), (53, 40), (40, 40), (31, 64), (64, 47), (90, 33)]  # height, width
TOLERANCE = 1e-6
"""Of normalised values, up to about 2.6 in size: the largest difference seen is 4.8e-7."""


def saved(folder: Path) -> list[Path]:
    """Small JPEG files of all kinds of shapes."""
    paths = []
    for index, (height, width) in enumerate(SIZES):
        paths.append(folder / f"{index}.jpg")
        noise(height, width, index).save(paths[-1], quality=90)
    return paths


def real_birds(number: int) -> list[Path]:
    paths = sorted((CUB_ROOT / "CUB_200_2011" / "images").glob("*/*.jpg"))
    return paths[:: max(1, len(paths) // number)][:number]


def stored(paths: list[Path], resize: int, aspect: str, cache: Path) -> ImageStore:
    folder = paths[0].parents[1]
    source = FileImages.of(folder, [str(path.relative_to(folder)) for path in paths])
    return ensure_store(source, resize, aspect=aspect, folder=cache, workers=1)


def evaluation(store: ImageStore, preprocessing: Preprocessing, **changes: object) -> EvalBatches:
    labels = np.arange(len(store.images), dtype=np.int64)
    arguments = {"batch_size": 4, "device": "cpu"} | changes
    return EvalBatches(store.images, labels, None, preprocessing, **arguments)


def normalised(batches: EvalBatches) -> Tensor:
    return torch.cat([images for images, _ in batches])


def pixels(batches: EvalBatches, preprocessing: Preprocessing) -> Tensor:
    """The uint8 values that were normalised."""
    mean, std = (
        torch.tensor(values, dtype=torch.float64).view(3, 1, 1)
        for values in (preprocessing.mean, preprocessing.std)
    )
    values = (normalised(batches).double() * std + mean) * 255
    assert (values - values.round()).abs().max() < 1e-3
    return values.round().to(torch.uint8)


def by_torchvision(paths: list[Path], transform: object) -> Tensor:
    def images() -> Iterator[Tensor]:
        for path in paths:
            with Image.open(path) as image:
                yield transform(image.convert("RGB"))

    return torch.stack(list(images()))


def check_equal(paths: list[Path], resize: int, crop: int, aspect: str, cache: Path) -> None:
    preprocessing = Preprocessing(crop=crop)
    batches = evaluation(stored(paths, resize, aspect, cache), preprocessing)
    cut = [Resize((resize, resize) if aspect == "warp" else resize), CenterCrop(crop)]
    expected = by_torchvision(paths, Compose([*cut, PILToTensor()]))
    assert torch.equal(pixels(batches, preprocessing), expected)
    normalise = Normalize(preprocessing.mean, preprocessing.std)
    expected = by_torchvision(paths, Compose([*cut, ToTensor(), normalise]))
    torch.testing.assert_close(normalised(batches), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("resize", "crop"), [(36, 32), (36, 31), (35, 32), (35, 31), (37, 32), (33, 33), (64, 63)]
)
def test_warped_images(resize: int, crop: int, tmp_path: Path) -> None:
    check_equal(saved(tmp_path), resize, crop, "warp", tmp_path / "cache")


@pytest.mark.parametrize(("resize", "crop"), [(36, 32), (36, 28), (37, 33), (40, 40), (31, 27)])
def test_images_that_keep_their_shape(resize: int, crop: int, tmp_path: Path) -> None:
    """A margin resize - crop of a multiple of 4, as 256 - 224 and 128 - 112 are: no shift."""
    check_equal(saved(tmp_path), resize, crop, "keep", tmp_path / "cache")


@pytest.mark.parametrize(("resize", "crop"), [(36, 31), (36, 30), (37, 32), (37, 30), (38, 32)])
def test_other_margins_shift_by_a_pixel_at_most(resize: int, crop: int, tmp_path: Path) -> None:
    """Cutting the square first and its centre then rounds twice, along the longer side alone."""
    paths = saved(tmp_path)
    preprocessing = Preprocessing(crop=crop)
    store = stored(paths, resize, "keep", tmp_path / "cache")
    found = pixels(evaluation(store, preprocessing), preprocessing)
    whole = [by_torchvision([path], Compose([Resize(resize), PILToTensor()]))[0] for path in paths]
    shifts = set()
    for image, cut in zip(whole, found, strict=True):
        height, width = image.shape[1:]
        top, left = (round((side - crop) / 2.0) for side in (height, width))
        (shift,) = (
            (down, right)
            for down in (-1, 0, 1)
            for right in (-1, 0, 1)
            if torch.equal(
                image[:, top + down : top + down + crop, left + right : left + right + crop], cut
            )
        )
        assert shift[0] == 0 or height > width
        assert shift[1] == 0 or width > height
        shifts.add(shift)
    assert len(shifts) > 1


def test_shifts_of_all_sizes() -> None:
    """The same in whole numbers, for every long side."""
    for resize in range(20, 60):
        for crop in range(10, resize + 1):
            for long_side in range(resize, 140):
                once = round((long_side - crop) / 2.0)
                twice = round((long_side - resize) / 2.0) + round((resize - crop) / 2.0)
                assert abs(once - twice) <= (0 if (resize - crop) % 4 == 0 else 1)


@pytest.mark.parametrize("aspect", ["warp", "keep"])
@pytest.mark.parametrize(("resize", "crop"), [(128, 112), (256, 224), (75, 71)])
@pytest.mark.real
@pytest.mark.skipif(not CUB_ROOT.is_dir(), reason=f"no real images in {CUB_ROOT}")
def test_real_photos(resize: int, crop: int, aspect: str, tmp_path: Path) -> None:
    check_equal(real_birds(24), resize, crop, aspect, tmp_path)


@pytest.mark.real
@pytest.mark.skipif(not MOBILENET.is_file(), reason=f"no real weights in {MOBILENET.parent}")
@pytest.mark.skipif(not CUB_ROOT.is_dir(), reason=f"no real images in {CUB_ROOT}")
def test_a_real_network_answers_the_same(tmp_path: Path) -> None:
    """MobileNetV2 and photos of birds: its logits and all that is measured of it."""
    paths = real_birds(32)
    preprocessing = Preprocessing(crop=112)
    network = build_backbone("mobilenet_v2", 1000, weights=str(MOBILENET)).module.eval()
    store = stored(paths, 128, "warp", tmp_path)
    normalise = Normalize(preprocessing.mean, preprocessing.std)
    transform = Compose([Resize((128, 128)), CenterCrop(112), ToTensor(), normalise])
    inputs = by_torchvision(paths, transform)
    with torch.no_grad():
        logits = network(inputs)
        ours = network(normalised(evaluation(store, preprocessing)))
    torch.testing.assert_close(ours, logits, rtol=1e-4, atol=1e-4)
    # its own answers as labels, half of them made wrong
    labels = logits.argmax(dim=1)
    labels[::2] = (labels[::2] + 1) % 1000
    batches = EvalBatches(
        store.images, labels.numpy(), None, preprocessing, batch_size=16, device="cpu"
    )
    measured = evaluate(network, batches, 1000, "cpu")
    expected = evaluate(network, [(inputs, labels)], 1000, "cpu")
    assert measured["top1"] == expected["top1"] == 50.0
    assert measured["top5"] == expected["top5"]
    assert measured["mean_class_top1"] == expected["mean_class_top1"]
    assert measured["nll"] == pytest.approx(expected["nll"], rel=1e-5)
    assert measured.images == 32
