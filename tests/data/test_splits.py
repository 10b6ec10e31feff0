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


@given(COUNTS, st.floats(0.01, 0.99), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_groups_of_one_image_change_nothing(counts: list[int], fraction: float, seed: int) -> None:
    labels = shuffled_labels(counts)
    rng = np.random.default_rng(seed)
    alone = rng.permutation(len(labels)).astype(np.int64)
    plain = stratified_split(labels, fraction, seed)
    for more in ({"groups": alone}, {"twins": alone}, {"groups": alone, "twins": alone}):
        split = stratified_split(labels, fraction, seed, **more)
        assert split.val.tolist() == plain.val.tolist()
        assert split.hash == plain.hash


@given(COUNTS, st.floats(0.01, 0.99), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_without_groups_the_first_of_each_permutation_are_set_aside(
    counts: list[int], fraction: float, seed: int
) -> None:
    labels = shuffled_labels(counts)
    rng = np.random.default_rng(seed)
    expected: list[int] = []
    for label, count in enumerate(counts):
        number = min(max(round(fraction * count), 1), count - 1)
        expected += rng.permutation(np.flatnonzero(labels == label))[:number].tolist()
    assert stratified_split(labels, fraction, seed).val.tolist() == sorted(expected)


def grouped(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of 1 to 5 classes and groups of 1 to 6 images within them, at least two a class."""
    rng = np.random.default_rng(seed)
    labels, groups = [], []
    for label in range(int(rng.integers(1, 6))):
        for _ in range(int(rng.integers(2, 9))):
            size = int(rng.integers(1, 7))
            labels += [label] * size
            groups += [len(set(groups)) + 100] * size
    order = rng.permutation(len(labels))
    return np.array(labels)[order], np.array(groups)[order]


@given(st.integers(0, 2**32), st.floats(0.05, 0.95))
@settings(max_examples=80, deadline=None)
def test_groups_stay_whole_and_sizes_near(seed: int, fraction: float) -> None:
    labels, groups = grouped(seed)
    split = stratified_split(labels, fraction, seed, groups=groups)
    assert not set(groups[split.fit]) & set(groups[split.val])
    for label in np.unique(labels):
        sizes = np.unique(groups[labels == label], return_counts=True)[1]
        count = int(sizes.sum())
        wanted = min(max(round(fraction * count), 1), count - 1)
        chosen = int((labels[split.val] == label).sum())
        assert 0 < chosen < count
        assert abs(chosen - wanted) <= sizes.max()
        if len(sizes) > 2 and sizes.max() <= wanted and wanted + sizes.max() < count:
            assert abs(chosen - wanted) <= sizes.max() / 2
    assert stratified_split(labels, fraction, seed, groups=groups).hash == split.hash


@given(st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_names_of_groups_do_not_matter(seed: int) -> None:
    labels, groups = grouped(seed)
    renamed = np.random.default_rng(seed).permutation(int(groups.max()) + 1)[groups]
    one = stratified_split(labels, 0.3, seed, groups=groups)
    assert stratified_split(labels, 0.3, seed, groups=renamed).hash == one.hash


@given(st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_groups_across_classes_stay_whole(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = shuffled_labels([20, 20, 20], seed)
    groups = rng.integers(0, 25, 60)
    split = stratified_split(labels, 0.25, seed, groups=groups)
    assert not set(groups[split.fit]) & set(groups[split.val])
    for label in range(3):
        assert 0 < (labels[split.val] == label).sum() < 20


def test_class_of_one_group_is_named() -> None:
    labels = np.repeat([0, 1], 4)
    groups = np.array([0, 0, 1, 1, 7, 7, 7, 7])
    with pytest.raises(UserError, match=r"tern cannot be split: its 4 images are 1 group,"):
        stratified_split(labels, 0.2, 0, ["gull", "tern"], groups=groups)


def test_twins_stay_together_where_the_class_can_be_split() -> None:
    labels = np.repeat([0, 1], 6)
    twins = np.array([0, 0, 0, 3, 4, 5, 6, 6, 6, 6, 6, 6])
    for seed in range(20):
        split = stratified_split(labels, 0.3, seed, twins=twins)
        assert len({int(i in split.val) for i in (0, 1, 2)}) == 1
        assert (labels[split.val] == 1).sum() == 2, "a class of twins alone is divided"


def test_twins_link_groups() -> None:
    labels = np.zeros(8, dtype=np.int64)
    groups = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    twins = np.array([0, 1, 1, 3, 4, 5, 6, 7])  # images 1 and 2 are one picture
    for seed in range(20):
        val = set(stratified_split(labels, 0.5, seed, groups=groups, twins=twins).val.tolist())
        assert len({0, 1, 2, 3} & val) in (0, 4)
        assert len(val) == 4


def test_twins_give_way_where_groups_do_not() -> None:
    labels = np.zeros(4, dtype=np.int64)
    groups, twins = np.array([0, 0, 1, 1]), np.zeros(4, dtype=np.int64)
    split = stratified_split(labels, 0.5, 0, groups=groups, twins=twins)
    assert split.val.tolist() in ([0, 1], [2, 3])


def test_given_validation_keeps_twins_and_refuses_to_divide_groups() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    given_val = np.array([0, 3])
    apart = np.array([0, 0, 1, 2, 3, 3])
    assert split_for(labels, given_val, 0.2, 0, 0, twins=apart).val.tolist() == [0, 3]
    with pytest.raises(UserError, match="divides group 0"):
        split_for(labels, given_val, 0.2, 0, 0, groups=apart)
    whole = np.array([0, 1, 1, 2, 3, 3])
    assert split_for(labels, given_val, 0.2, 0, 0, groups=whole).val.tolist() == [0, 3]


@given(st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_held_out_groups_leave_enough_groups_to_split_again(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 5, 12)
    labels = np.repeat(np.arange(12) % 3, sizes)
    groups = np.repeat(np.arange(12), sizes)
    aside = hold_out_test(labels, 0.3, 0, 2, ["a", "b", "c"], groups=groups)
    assert not set(groups[aside]) & set(groups[~aside])
    rest = stratified_split(labels[~aside], 0.5, seed, groups=groups[~aside])
    assert set(labels[~aside][rest.fit]) == set(labels[~aside][rest.val]) == {0, 1, 2}
    assert set(labels[aside]) == {0, 1, 2}


def test_many_images_with_twins_are_split_quickly() -> None:
    labels = np.arange(100_000) % 1000
    twins = np.arange(100_000)
    twins[::10] = twins[::10] // 2000 * 2000
    split = stratified_split(labels, 0.2, 0, twins=twins)
    assert 0.1 < len(split.val) / 100_000 < 0.3
