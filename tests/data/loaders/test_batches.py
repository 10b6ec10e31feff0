from __future__ import annotations

import hashlib
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, Normalize, ToTensor

from pcsearch.data.loaders import EvalBatches, TrainBatches
from pcsearch.data.preprocessing import Preprocessing
from pcsearch.errors import UserError

RAW = Preprocessing(crop=5, flip=False, mean=(0.0, 0.0, 0.0), std=(1 / 255,) * 3)
"""Leaves pixel values as they are, so that crops can be compared with the images."""


def random_images(number: int, side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (number, side, side, 3), dtype=np.uint8)


def train(
    images: np.ndarray, preprocessing: Preprocessing = RAW, **changes: object
) -> TrainBatches:
    arguments = {"batch_size": 4, "pairing": "split_batch", "seed": 3, "device": "cpu"}
    indices = changes.pop("indices", np.arange(len(images)))
    labels = np.arange(len(images), dtype=np.int64)  # the label tells which image it is
    return TrainBatches(images, labels, indices, preprocessing, **(arguments | changes))


def by_image(batches: TrainBatches, epoch: int) -> dict[int, torch.Tensor]:
    seen: dict[int, torch.Tensor] = {}
    for images, labels in batches.epoch(epoch):
        for image, label in zip(images, labels.tolist(), strict=True):
            assert label not in seen
            seen[label] = image
    return seen


def find_crop(crop: torch.Tensor, image: np.ndarray) -> list[tuple[int, int, bool]]:
    """Every (top, left, mirrored) at which the crop occurs in the image, by brute force."""
    pixels = crop.permute(1, 2, 0).round().to(torch.uint8).numpy()
    side = len(pixels)
    return [
        (top, left, mirrored)
        for top in range(len(image) - side + 1)
        for left in range(len(image) - side + 1)
        for mirrored in (False, True)
        if (
            image[top : top + side, left : left + side][:, :: -1 if mirrored else 1] == pixels
        ).all()
    ]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("flip", [False, True])
def test_each_image_once_as_some_crop_of_itself(flip: bool, channels_last: bool) -> None:
    images = random_images(10, 8)
    preprocessing = Preprocessing(5, flip, RAW.mean, RAW.std)
    batches = train(images, preprocessing, channels_last=channels_last)
    seen = by_image(batches, 0)
    assert sorted(seen) == list(range(10))
    found = [find_crop(seen[index], images[index]) for index in range(10)]
    assert all(len(places) == 1 for places in found)
    assert {places[0][2] for places in found} == ({False, True} if flip else {False})


def test_shapes_types_and_last_batch() -> None:
    batches = train(random_images(10, 8), Preprocessing(crop=6), channels_last=True)
    delivered = list(batches.epoch(0))
    assert [tuple(images.shape) for images, _ in delivered] == [(n, 3, 6, 6) for n in (4, 4, 2)]
    assert len(batches) == len(delivered) == 3
    assert batches.num_images == 10
    for images, labels in delivered:
        assert images.dtype == torch.float32
        assert labels.dtype == torch.int64
        assert images.is_contiguous(memory_format=torch.channels_last)
    plain = next(iter(train(random_images(10, 8)).epoch(0)))[0]
    assert plain.is_contiguous()


def test_all_places_and_both_sides_occur_equally_often() -> None:
    images = np.zeros((3, 8, 8, 3), dtype=np.uint8)
    images[...] = np.random.default_rng(0).integers(0, 256, (8, 8, 3))
    batches = train(images, Preprocessing(6, True, RAW.mean, RAW.std))
    counts: dict[tuple[int, int, bool], int] = {}
    for epoch in range(600):
        for crops, _ in batches.epoch(epoch):
            for crop in crops:
                (place,) = find_crop(crop, images[0])
                counts[place] = counts.get(place, 0) + 1
    assert len(counts) == 18
    expected = 1800 / 18
    chi_square = sum((count - expected) ** 2 / expected for count in counts.values())
    assert chi_square < 40.8  # 17 degrees of freedom, p = 0.001


@given(
    st.integers(0, 2**31),
    st.integers(0, 50),
    st.integers(1, 9),
    st.sets(st.integers(0, 11), min_size=2),
)
@settings(max_examples=30, deadline=None)
def test_crops_depend_on_seed_epoch_and_image_alone(
    seed: int, epoch: int, batch_size: int, rows: set[int]
) -> None:
    images = random_images(12, 9)
    preprocessing = Preprocessing(crop=5, flip=True)
    every = by_image(train(images, preprocessing, seed=seed), epoch)
    some = train(
        images[: max(rows) + 1],
        preprocessing,
        seed=seed,
        batch_size=batch_size,
        indices=np.array(sorted(rows)),
    )
    for label, image in by_image(some, epoch).items():
        assert torch.equal(image, every[label])


def test_epochs_and_seeds_differ() -> None:
    images = random_images(30, 12)
    first = list(train(images).epoch(0))
    for other in (train(images).epoch(1), train(images, seed=4).epoch(0)):
        again = list(other)
        assert any(not torch.equal(a[1], b[1]) for a, b in zip(first, again, strict=True))
    crops, others = by_image(train(images), 0), by_image(train(images), 1)
    assert sum(torch.equal(crops[i], others[i]) for i in range(30)) < 15
    repeated = list(train(images).epoch(0))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, repeated, strict=True))


def test_two_shuffles_crop_an_image_anew() -> None:
    images = random_images(20, 12)
    batches = train(images, pairing="two_shuffles")
    seen: dict[int, list[torch.Tensor]] = {}
    for crops, labels in batches.epoch(0):
        for crop, label in zip(crops, labels.tolist(), strict=True):
            seen.setdefault(label, []).append(crop)
    assert all(len(crops) == 2 for crops in seen.values())
    assert sum(torch.equal(*crops) for crops in seen.values()) < 5
    assert len(batches) == len(list(batches.epoch(0)))


def test_crop_may_be_the_whole_image() -> None:
    images = random_images(4, 5)
    seen = by_image(train(images), 0)
    for index in range(4):
        assert find_crop(seen[index], images[index]) == [(0, 0, False)]


def test_crop_larger_than_the_images_is_refused() -> None:
    with pytest.raises(UserError, match=r"image\.crop is 5, but images are stored at 4"):
        train(random_images(3, 4))


def test_memory_mapped_images_are_not_copied(tmp_path: object) -> None:
    path = f"{tmp_path}/images.npy"
    np.save(path, random_images(6, 8))
    mapped = np.load(path, mmap_mode="r")
    batches = train(mapped)
    assert np.shares_memory(batches._supply._feed._windows, mapped)
    assert torch.equal(by_image(batches, 2)[3], by_image(train(np.load(path)), 2)[3])


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("side", "crop"), [(9, 5), (10, 5), (10, 6), (9, 6), (13, 6), (256, 224)])
def test_evaluation_equals_torchvision(side: int, crop: int, channels_last: bool) -> None:
    images = random_images(5, side)
    preprocessing = Preprocessing(crop=crop)
    transform = Compose(
        [CenterCrop(crop), ToTensor(), Normalize(preprocessing.mean, preprocessing.std)]
    )
    expected = torch.stack([transform(Image.fromarray(image)) for image in images])
    labels = np.array([4, 3, 2, 1, 0])
    batches = EvalBatches(
        images, labels, None, preprocessing, batch_size=2, device="cpu",
        channels_last=channels_last,
    )  # fmt: skip
    delivered = list(batches)
    assert len(batches) == len(delivered) == 3
    assert batches.num_images == 5
    torch.testing.assert_close(torch.cat([b[0] for b in delivered]), expected, rtol=0, atol=1e-6)
    assert torch.cat([b[1] for b in delivered]).tolist() == [4, 3, 2, 1, 0]


def test_evaluation_of_some_rows_in_order() -> None:
    images = random_images(6, 7)
    labels = np.arange(6)
    rows = np.array([4, 0, 5])
    (batch,) = EvalBatches(images, labels, rows, RAW, batch_size=8, device="cpu")
    assert batch[1].tolist() == [4, 0, 5]
    expected = torch.from_numpy(images[rows, 1:6, 1:6]).permute(0, 3, 1, 2).float()
    torch.testing.assert_close(batch[0], expected, rtol=0, atol=1e-4)


def markers(number: int, side: int) -> np.ndarray:
    """Images whose pixels say where they are: (image, line, column)."""
    images = np.empty((number, side, side, 3), np.uint8)
    images[..., 0] = np.arange(number)[:, None, None] * 30 + 5
    images[..., 1] = np.arange(side)[:, None] * 20 + 3
    images[..., 2] = np.arange(side) * 20 + 7
    return images


def places(batches: TrainBatches, epoch: int) -> dict[int, list[tuple[int, int, bool]]]:
    """(top, left, mirrored) of each crop of `markers`, by image."""
    found: dict[int, list[tuple[int, int, bool]]] = {}
    for crops, labels in batches.epoch(epoch):
        for crop, label in zip(crops.round().int().tolist(), labels.tolist(), strict=True):
            (_, (top, *_), (first, *_, last)) = (crop[0], crop[1][0], crop[2][0])
            left = (min(first, last) - 7) // 20
            found.setdefault(label, []).append(((top - 3) // 20, left, first > last))
    return found


N, Y = False, True
FROZEN = {
    (0, 1): [(4, 1, N), (0, 0, Y), (1, 1, Y), (2, 3, N), (3, 0, Y), (2, 2, N), (2, 0, N)],
    (0, 2): [(0, 0, Y), (3, 2, N), (0, 1, Y), (1, 4, N), (3, 3, Y), (4, 0, Y), (2, 1, Y)],
    (2**40 + 5, 31): [(0, 1, N), (0, 2, Y), (4, 3, Y), (1, 0, N), (4, 2, Y), (1, 3, N), (0, 4, Y)],
}
FROZEN_PIXELS = "63a02f28aaf7b5f227eba24ce0c0c46cbfc439a0a3aabe49686281662dc81052"


@pytest.mark.parametrize(("seed", "epoch"), FROZEN)
def test_crops_are_those_of_the_first_version(seed: int, epoch: int) -> None:
    preprocessing = Preprocessing(8, True, RAW.mean, RAW.std)
    found = places(train(markers(7, 12), preprocessing, seed=seed, batch_size=3), epoch)
    expected = {row: [place] for row, place in enumerate(FROZEN[seed, epoch])}
    assert dict(sorted(found.items())) == expected


def test_second_crops_and_order_are_those_of_the_first_version() -> None:
    preprocessing = Preprocessing(8, True, RAW.mean, RAW.std)
    some = train(
        markers(7, 12), preprocessing, seed=11, batch_size=3, pairing="two_shuffles",
        indices=np.array([1, 4, 6]),
    )  # fmt: skip
    assert places(some, 4) == {
        1: [(3, 1, N), (2, 0, N)],
        4: [(0, 3, N), (2, 2, Y)],
        6: [(3, 4, N), (2, 2, N)],
    }
    batches = train(markers(7, 12), preprocessing, seed=5, batch_size=3)
    assert [labels.tolist() for _, labels in batches.epoch(3)] == [[4, 3, 6], [0, 5, 1, 2]]


@pytest.mark.parametrize("channels_last", [False, True])
def test_pixels_are_those_of_the_first_version(channels_last: bool) -> None:
    batches = train(
        markers(7, 12), Preprocessing(8), seed=5, batch_size=3, channels_last=channels_last
    )
    seen = by_image(batches, 3)
    pixels = (np.ascontiguousarray(seen[row].numpy()).astype("<f4").tobytes() for row in range(7))
    assert hashlib.sha256(b"".join(pixels)).hexdigest() == FROZEN_PIXELS


def test_nothing_to_train_on_gives_no_batch() -> None:
    batches = train(random_images(3, 8), indices=np.array([], dtype=np.int64))
    assert list(batches.epoch(1)) == []
    assert len(batches) == batches.num_images == 0


def test_delivered_batches_are_the_callers_own() -> None:
    images = random_images(8, 8)
    kept = images.copy()
    batches = train(images, indices=np.arange(8))
    first, again = list(batches.epoch(1)), list(batches.epoch(1))
    for crops, labels in first:
        crops.zero_()
        labels.zero_()
    assert all((crops != 0).any() for crops, _ in again)
    assert sorted(torch.cat([labels for _, labels in batches.epoch(1)]).tolist()) == [*range(8)]
    assert (images == kept).all()


def test_the_cpu_needs_no_thread() -> None:
    batches = train(random_images(8, 8))
    before = threading.active_count()
    for _ in batches.epoch(1):
        assert threading.active_count() == before
