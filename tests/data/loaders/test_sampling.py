"""Balanced sampling: how often each class and image comes, and how the pairings combine with it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsearch.data.loaders import TrainBatches
from pcsearch.data.loaders.batches import balanced_positions
from pcsearch.data.preprocessing import Preprocessing
from pcsearch.losses import PAIRINGS, split_pairs

LABELS = np.array([0] * 12 + [1] * 5 + [2] + [4] * 2)  # class 3 has no image here


def batches(**changes: object) -> TrainBatches:
    arguments = {"batch_size": 6, "pairing": "split_batch", "sampling": "balanced", "seed": 3}
    images = np.zeros((len(LABELS), 4, 4, 3), np.uint8)
    images[:, :, :, 0] = np.arange(len(LABELS))[:, None, None]  # red says which image it is
    indices = changes.pop("indices", np.arange(len(LABELS)))
    chosen = Preprocessing(crop=4, flip=False, mean=(0.0,) * 3, std=(1 / 255,) * 3)
    return TrainBatches(images, LABELS, indices, chosen, device="cpu", **(arguments | changes))


def rows(epoch: list[tuple[torch.Tensor, torch.Tensor]]) -> list[list[int]]:
    return [images[:, 0, 0, 0].round().int().tolist() for images, _ in epoch]


def counts_of(epoch: list[tuple[torch.Tensor, torch.Tensor]]) -> Counter[int]:
    return Counter(row for batch in rows(epoch) for row in batch)


def test_by_hand() -> None:
    """Two classes of 3 and 1 images: each comes twice, the single one with the same image."""
    drawn = balanced_positions(np.array([5, 5, 5, 8]), np.random.default_rng(0))
    assert len(drawn) == 4
    assert (drawn == 3).sum() == 2
    assert len(set(drawn[drawn < 3].tolist())) == 2


@given(
    st.lists(st.integers(0, 7), min_size=1, max_size=80),
    st.integers(0, 2**31),
)
@settings(deadline=None)
def test_classes_and_their_images_come_equally_often(labels: list[int], seed: int) -> None:
    drawn = balanced_positions(np.array(labels), np.random.default_rng(seed))
    assert len(drawn) == len(labels)
    by_class = Counter(labels[position] for position in drawn.tolist())
    times = [by_class[one] for one in set(labels)]
    assert max(times) - min(times) <= 1
    of_image = Counter(drawn.tolist())
    for one in set(labels):
        own = [of_image[place] for place, label in enumerate(labels) if label == one]
        assert max(own) - min(own) <= 1


def test_over_many_epochs_each_class_and_each_of_its_images_is_equally_likely() -> None:
    total: Counter[int] = Counter()
    for seed in range(600):
        total += Counter(balanced_positions(LABELS, np.random.default_rng(seed)).tolist())
    found = np.array([total[place] for place in range(len(LABELS))]) / 600
    wanted = len(LABELS) / 4 / np.bincount(LABELS)[LABELS]
    np.testing.assert_allclose(found, wanted, rtol=0.2)


@pytest.mark.parametrize("pairing", PAIRINGS)
def test_an_epoch_has_the_length_of_a_uniform_one(pairing: str) -> None:
    balanced, uniform = batches(pairing=pairing), batches(pairing=pairing, sampling="uniform")
    assert len(balanced) == len(uniform)
    ends = [[len(labels) for _, labels in one.epoch(1)] for one in (balanced, uniform)]
    assert ends[0] == ends[1]
    assert len(ends[0]) == len(balanced)


@pytest.mark.parametrize("pairing", PAIRINGS)
def test_batches_depend_on_seed_and_epoch_alone(pairing: str) -> None:
    epoch = rows(list(batches(pairing=pairing).epoch(5)))
    one = batches(pairing=pairing)
    list(one.epoch(1))
    assert rows(list(one.epoch(5))) == epoch
    assert rows(list(one.epoch(6))) != epoch
    assert rows(list(batches(pairing=pairing, seed=4).epoch(5))) != epoch


def test_every_pairing_and_batch_size_shows_the_same_images() -> None:
    shown = counts_of(list(batches().epoch(2)))
    assert max(shown.values()) == 5  # the only image of its class
    assert counts_of(list(batches(pairing="between_classes", batch_size=9).epoch(2))) == shown
    twice = list(batches(pairing="two_shuffles").epoch(2))
    assert counts_of(twice) == {row: 2 * times for row, times in shown.items()}
    sides: list[Counter[int]] = [Counter(), Counter()]
    for batch in rows(twice):  # once on each side, as without balancing
        for side, half in zip(sides, split_pairs(torch.tensor(batch)), strict=True):
            side.update(half.tolist())
    assert sides[0] == sides[1] == shown


def test_between_classes_then_leaves_no_pair_of_one_class_but_in_small_batches() -> None:
    """Four classes of equal frequency seldom have half of a batch; uniform sampling shows 12 of 20
    images of one class."""
    alike = {}
    for sampling in ("uniform", "balanced"):
        pairs = [
            pair
            for epoch in range(1, 30)
            for _, labels in batches(
                pairing="between_classes", batch_size=10, sampling=sampling
            ).epoch(epoch)
            for pair in zip(*split_pairs(labels), strict=True)
        ]
        alike[sampling] = np.mean([bool(one == other) for one, other in pairs])
    assert alike["balanced"] < 0.03 < 0.1 < alike["uniform"]


def test_only_the_images_to_train_on_are_drawn() -> None:
    chosen = np.array([0, 1, 2, 3, 12, 17])
    shown = counts_of(list(batches(indices=chosen).epoch(1)))
    assert sum(shown.values()) == 6
    assert set(shown) <= set(chosen.tolist())
    assert shown[12] == shown[17] == 2


def test_an_image_that_comes_again_is_augmented_anew() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 12, 12, 3), dtype=np.uint8)
    labels = np.array([0, 0, 0, 1])
    one = TrainBatches(
        images, labels, np.arange(4), Preprocessing(crop=4), batch_size=4, pairing="split_batch",
        sampling="balanced", seed=0, device="cpu",
    )  # fmt: skip
    ((inputs, found),) = one.epoch(1)
    first, second = inputs[found == 1]
    assert not torch.equal(first, second)
