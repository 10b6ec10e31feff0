from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsearch.data.splits import hold_out_test, split_for, stratified_split
from pcsearch.errors import UserError

COUNTS = st.lists(st.integers(2, 30), min_size=1, max_size=8)


def shuffled_labels(counts: list[int], seed: int = 0) -> np.ndarray:
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    return np.random.default_rng(seed).permutation(labels)


@given(COUNTS, st.floats(0.01, 0.99), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_split_is_a_stratified_partition(counts: list[int], fraction: float, seed: int) -> None:
    labels = shuffled_labels(counts)
    split = stratified_split(labels, fraction, seed)
    assert sorted([*split.fit, *split.val]) == list(range(len(labels)))
    for label, count in enumerate(counts):
        expected = min(max(round(fraction * count), 1), count - 1)
        assert (labels[split.val] == label).sum() == expected
    again = stratified_split(labels, fraction, seed)
    assert again.hash == split.hash
    assert (again.val == split.val).all()


def test_split_and_hash_depend_on_seed_and_labels() -> None:
    labels = shuffled_labels([30, 30])
    first, second = stratified_split(labels, 0.2, 0), stratified_split(labels, 0.2, 1)
    assert first.val.tolist() != second.val.tolist()
    assert first.hash != second.hash
    renamed = stratified_split(1 - labels, 0.2, 0)
    assert renamed.hash != first.hash
    assert len(first.hash) == 16
    int(first.hash, 16)


def test_split_does_not_change_between_versions() -> None:
    split = stratified_split(np.repeat(np.arange(3), 5).astype(np.int64), 0.2, 7)
    assert split.val.tolist() == [2, 5, 14]
    assert split.hash == "54925e5b51bcc673"


def test_class_with_one_image_is_named() -> None:
    labels = np.array([0, 0, 1, 2, 2], dtype=np.int64)
    with pytest.raises(UserError, match=r"at least 2.*heron \(1\)"):
        stratified_split(labels, 0.2, 0, ["gull", "heron", "tern"])
    with pytest.raises(UserError, match=r"class 1 \(1\)"):
        stratified_split(labels, 0.2, 0)


def test_class_without_images_is_named() -> None:
    with pytest.raises(UserError, match=r"tern \(0\)"):
        stratified_split(np.array([0, 0, 1, 1]), 0.5, 0, ["gull", "heron", "tern"])


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.2, float("nan")])
def test_fraction_outside_its_range(fraction: float) -> None:
    with pytest.raises(UserError, match="between 0 and 1"):
        stratified_split(shuffled_labels([5, 5]), fraction, 0)


def test_every_repeat_keeps_the_given_validation_part() -> None:
    labels = shuffled_labels([6, 6])
    given_val = np.array([np.flatnonzero(labels == 0)[0], np.flatnonzero(labels == 1)[2]])
    split = split_for(labels, given_val, 0.2, 0, 0, ["a", "b"])
    assert split.val.tolist() == sorted(given_val.tolist())
    assert set(split.fit.tolist()) == set(range(12)) - set(given_val.tolist())
    for repeat in (1, 2):
        again = split_for(labels, given_val, 0.5, 1, repeat, ["a", "b"])
        assert again.val.tolist() == split.val.tolist()
        assert again.hash == split.hash


def test_repeats_without_given_validation_are_seeded_by_both_numbers() -> None:
    labels = shuffled_labels([40, 40])
    hashes = {split_for(labels, None, 0.2, seed, r).hash for seed in (0, 1) for r in (0, 1, 2)}
    assert len(hashes) == 6
    assert split_for(labels, None, 0.2, 3, 1).hash == stratified_split(labels, 0.2, (3, 1)).hash


def test_given_validation_without_a_class_is_refused() -> None:
    labels = np.array([0, 0, 1, 1], dtype=np.int64)
    with pytest.raises(UserError, match=r"validation images: b \(0\)"):
        split_for(labels, np.array([0]), 0.2, 0, 0, ["a", "b"])
    with pytest.raises(UserError, match=r"training images: b \(0\)"):
        split_for(labels, np.array([0, 2, 3]), 0.2, 0, 0, ["a", "b"])


@given(st.lists(st.integers(3, 20), min_size=2, max_size=5), st.floats(0.01, 0.99))
@settings(max_examples=40, deadline=None)
def test_held_out_test_leaves_enough_to_split_again(counts: list[int], fraction: float) -> None:
    labels = shuffled_labels(counts)
    aside = hold_out_test(labels, fraction, 0, 2, [str(i) for i in range(len(counts))])
    for label in range(len(counts)):
        assert (labels[aside] == label).sum() >= 1
        assert (labels[~aside] == label).sum() >= 2
