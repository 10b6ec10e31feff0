"""Images on the device and images streamed to it give the batches of the mapped file.

No GPU is needed: the gather, the cache of copies and the choice between both run on any device of
PyTorch, here the CPU, whose memory stands for a GPU's.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsearch.data.loaders import EvalBatches, TrainBatches
from pcsearch.data.loaders.augment import Crops
from pcsearch.data.loaders.device_cache import AUTO_SHARE, ResidentSets, resident_images
from pcsearch.data.loaders.transfer import Feed, HostFeed, ResidentFeed, StreamedFeed, open_feed
from pcsearch.data.preprocessing import Preprocessing
from pcsearch.errors import UserError

CPU = torch.device("cpu")
EVERYTHING = Preprocessing(5, augment={"color_jitter": (0.3, 0.3, 0.3), "random_erasing": (0.5,)})
MODERN = Preprocessing(5, augment={"random_resized_crop": (0.2,), "rand_augment": (2, 9)})


def random_images(number: int, side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (number, side, side, 3), dtype=np.uint8)


def mapped(folder: Path, number: int, side: int, name: str = "images") -> np.ndarray:
    path = folder / f"{name}.npy"
    np.save(path, random_images(number, side, sum(name.encode())))
    return np.load(path, mmap_mode="r")


def feeds(images: np.ndarray, crop: int) -> list[Feed]:
    host = HostFeed(images, crop)
    return [host, StreamedFeed(host, CPU), ResidentFeed(torch.from_numpy(images.copy()), crop)]


@given(
    st.integers(1, 7),
    st.integers(1, 9),
    st.lists(st.integers(0, 5), min_size=1, max_size=7),
    st.integers(0, 2**31),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_every_feed_gives_the_crops_of_a_loop(
    crop: int, margin: int, sizes: list[int], seed: int, flip: bool
) -> None:
    side, number = crop + margin - 1, 6
    images = random_images(number, side)
    rng = np.random.default_rng(seed)
    total = sum(sizes)
    tops, lefts = rng.integers(0, margin, (2, total))
    flips = rng.random(total) < 0.5 if flip else None
    wanted = Crops(rng.integers(0, number, total), tops, lefts, flips)
    expected = np.zeros((total, crop, crop, 3), np.uint8)
    for place in range(total):
        top, left = tops[place], lefts[place]
        cut = images[wanted.rows[place], top : top + crop, left : left + crop]
        expected[place] = cut[:, ::-1] if flips is not None and flips[place] else cut
    ends = np.cumsum(sizes)
    batches = [slice(int(stop - size), int(stop)) for stop, size in zip(ends, sizes, strict=True)]
    for feed in feeds(images, crop):
        cuts = list(feed.crops(wanted, batches))
        assert [len(cut) for cut in cuts] == sizes
        assert np.array_equal(torch.cat(cuts).numpy(), expected)


def delivered(batches: TrainBatches | EvalBatches) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(batches.epoch(3) if isinstance(batches, TrainBatches) else batches)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("preprocessing", [Preprocessing(5), EVERYTHING, MODERN])
def test_batches_are_the_same_from_every_feed(
    preprocessing: Preprocessing, channels_last: bool
) -> None:
    images, labels = random_images(11, 8), np.arange(11)
    rows = np.array([9, 2, 3, 10, 4, 7, 0])
    common = {"batch_size": 3, "device": "cpu", "channels_last": channels_last}
    sets: Sequence[TrainBatches | EvalBatches] = (
        TrainBatches(images, labels, rows, preprocessing, pairing="two_shuffles", seed=1, **common),
        EvalBatches(images, labels, rows, preprocessing, **common),
    )
    for batches in sets:
        expected = delivered(batches)
        for feed in feeds(images, 5):
            batches._supply._feed = feed
            for (found, found_labels), (image, label) in zip(
                delivered(batches), expected, strict=True
            ):
                assert torch.equal(found, image)
                assert found.stride() == image.stride()
                assert torch.equal(found_labels, label)


def test_streaming_stops_with_the_epoch() -> None:
    images = random_images(40, 8)
    batches = TrainBatches(
        images, np.arange(40), np.arange(40), Preprocessing(5), batch_size=2,
        pairing="split_batch", seed=0, device="cpu",
    )  # fmt: skip
    batches._supply._feed = StreamedFeed(HostFeed(images, 5), CPU)
    before = threading.active_count()
    epoch = batches.epoch(1)
    next(epoch)
    assert threading.active_count() == before + 1
    epoch.close()
    assert threading.active_count() == before


def test_an_error_in_the_thread_reaches_the_training_loop() -> None:
    images = random_images(4, 8)
    feed = StreamedFeed(HostFeed(images, 5), CPU)
    outside = Crops(np.array([0, 99]), np.zeros(2, np.int64), np.zeros(2, np.int64))
    cuts = feed.crops(outside, [slice(0, 1), slice(1, 2)])
    assert np.array_equal(next(cuts)[0].numpy(), images[0, :5, :5])
    with pytest.raises(IndexError, match="99"):
        next(cuts)


@pytest.mark.parametrize("residency", ["auto", "device", "host"])
def test_on_the_cpu_the_mapped_file_is_used_as_it_is(residency: str, tmp_path: Path) -> None:
    images = mapped(tmp_path, 4, 8)
    feed = open_feed(images, 5, CPU, residency)
    assert isinstance(feed, HostFeed)
    assert np.shares_memory(feed._windows, images)


@pytest.mark.parametrize("residency", ["auto", "host"])
def test_other_devices_than_gpus_get_no_copy_unasked(residency: str) -> None:
    assert resident_images(random_images(2, 4), CPU, residency) is None


def plenty(device: torch.device) -> int:
    return 2**40


def test_a_copy_is_exact_and_shared_by_all_that_map_the_file(tmp_path: Path) -> None:
    images = mapped(tmp_path, 9, 4)
    sets = ResidentSets()
    copy = sets.fetch(images, CPU, "auto", plenty)
    assert np.array_equal(copy.numpy(), images)
    assert not np.shares_memory(copy.numpy(), images)
    again = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert sets.fetch(again, CPU, "device", plenty) is copy
    # a part, a changeable array and a changed file are other images
    for part in (images[:4], images[4:8]):
        assert np.array_equal(sets.fetch(part, CPU, "auto", plenty).numpy(), part)
    assert sets.fetch(np.array(images), CPU, "auto", plenty) is not copy
    changed = mapped(tmp_path, 9, 4, "others")
    times = (tmp_path / "images.npy").stat()
    (tmp_path / "others.npy").replace(tmp_path / "images.npy")
    os.utime(tmp_path / "images.npy", ns=(times.st_atime_ns, times.st_mtime_ns))
    new = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert np.array_equal(sets.fetch(new, CPU, "auto", plenty).numpy(), changed)


def test_large_sets_are_copied_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pcsearch.data.loaders.device_cache._CHUNK_BYTES", 100)
    for number, side in ((7, 4), (5, 9), (1, 3), (6, 4)):
        images = random_images(number, side)
        assert np.array_equal(ResidentSets().fetch(images, CPU, "auto", plenty).numpy(), images)


def test_successive_trials_share_a_copy_and_old_sets_go(tmp_path: Path) -> None:
    sets = ResidentSets()
    stores = [mapped(tmp_path, 3, 4, name) for name in ("train", "test", "next")]
    places = [sets.fetch(store, CPU, "auto", plenty).data_ptr() for store in stores[:2]]
    # between two trials, nobody uses them
    assert [sets.fetch(store, CPU, "auto", plenty).data_ptr() for store in stores[:2]] == places
    sets.fetch(stores[2], CPU, "auto", plenty)
    assert len(sets._alive) == 2
    used = sets.fetch(stores[0], CPU, "auto", plenty)
    for store in stores[1:]:
        sets.fetch(store, CPU, "auto", plenty)
    assert sets.fetch(stores[0], CPU, "auto", plenty) is used  # not kept, but in use


def test_auto_wants_a_quarter_of_the_free_memory_at_most(tmp_path: Path) -> None:
    images = mapped(tmp_path, 5, 4)
    needed = int(images.nbytes / AUTO_SHARE)
    sets = ResidentSets()
    assert sets.fetch(images, CPU, "auto", lambda device: needed - 1) is None
    copy = sets.fetch(images, CPU, "auto", lambda device: needed)
    assert copy is not None
    # once it is there, it costs nothing more
    assert sets.fetch(images, CPU, "auto", lambda device: 0) is copy
    assert sets.fetch(mapped(tmp_path, 5, 4, "b"), CPU, "device", lambda device: 0) is not None


def test_sets_that_nobody_uses_make_room(tmp_path: Path) -> None:
    sets = ResidentSets()
    first, second = mapped(tmp_path, 50, 4, "a"), mapped(tmp_path, 50, 4, "b")

    def free(device: torch.device) -> int:
        held = sum(copy.nbytes for copy in sets._alive.values())
        return int(first.nbytes / AUTO_SHARE) - held

    sets.fetch(first, CPU, "auto", free)
    assert sets.fetch(second, CPU, "auto", free) is not None
    assert [copy.tolist() for copy in sets._alive.values()] == [second.tolist()]
    in_use = sets.fetch(second, CPU, "auto", free)
    assert sets.fetch(first, CPU, "auto", free) is None
    assert sets.fetch(second, CPU, "auto", free) is in_use


def test_out_of_memory() -> None:
    """Really: no machine can allocate 800 TB."""
    images = np.broadcast_to(np.zeros((1, 16, 16, 3), np.uint8), (2**40, 16, 16, 3))
    sets = ResidentSets()
    assert sets.fetch(images, CPU, "auto", lambda device: 2**60) is None
    with pytest.raises(UserError, match=r"786432\.00 GiB, but cpu has 3\.00 GiB free.*") as caught:
        sets.fetch(images, CPU, "device", lambda device: 3 * 2**30)
    assert "set resources.residency=host" in str(caught.value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("residency", ["auto", "device", "host"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_a_gpu_gets_the_batches_of_the_cpu(
    residency: str, channels_last: bool, tmp_path: Path
) -> None:
    images, labels = mapped(tmp_path, 70, 40), np.arange(70)
    preprocessing = replace(EVERYTHING, crop=33)
    here, there = (
        TrainBatches(
            images, labels, labels, preprocessing, batch_size=8, pairing="split_batch", seed=0,
            device=device, channels_last=channels_last, residency=residency,
        )
        for device in ("cpu", "cuda")
    )  # fmt: skip
    for _ in range(3):
        for (one, label), (other, same) in zip(here.epoch(1), there.epoch(1), strict=True):
            assert other.device.type == "cuda"
            assert torch.equal(label, same.cpu())
            torch.testing.assert_close(other.cpu(), one, rtol=0, atol=1e-5)
