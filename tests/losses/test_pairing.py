"""The pairings: who appears how often, who is paired with whom, and determinism."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsearch.errors import UserError
from pcsearch.losses import PAIRINGS, epoch_batches, num_batches, split_pairs


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


counts, batch_sizes, seeds = st.integers(0, 60), st.integers(2, 17), st.integers(0, 1000)


@given(counts, st.integers(1, 17), seeds)
@settings(max_examples=80, deadline=None)
def test_split_batch_shows_every_sample_once(samples: int, batch_size: int, seed: int) -> None:
    batches = epoch_batches(samples, batch_size, "split_batch", seeded(seed))
    assert sorted(i for batch in batches for i in batch.tolist()) == list(range(samples))
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert all(1 <= len(batch) <= batch_size + 1 for batch in batches)
    if batch_size > 1 and samples > 1:
        assert all(len(batch) > 1 for batch in batches)  # BatchNorm cannot train on one value


@given(counts, batch_sizes, seeds)
@settings(max_examples=80, deadline=None)
def test_two_shuffles_show_every_sample_once_on_each_side(
    samples: int, batch_size: int, seed: int
) -> None:
    batches = epoch_batches(samples, batch_size, "two_shuffles", seeded(seed))
    sides = [split_pairs(batch) for batch in batches]
    for side in (0, 1):
        assert Counter(i for pair in sides for i in pair[side].tolist()) == Counter(range(samples))
    assert all(len(batch) % 2 == 0 and len(batch) <= batch_size for batch in batches)
    assert all(len(batch) == 2 * (batch_size // 2) for batch in batches[:-1])


@given(st.lists(st.integers(0, 5), max_size=60), st.integers(1, 9), seeds)
@settings(max_examples=80, deadline=None)
def test_between_classes_pairs_as_few_of_one_class_as_possible(
    classes: list[int], half: int, seed: int
) -> None:
    labels = torch.tensor(classes, dtype=torch.int64)
    batches = epoch_batches(len(labels), 2 * half, "between_classes", seeded(seed), labels)
    plain = epoch_batches(len(labels), 2 * half, "split_batch", seeded(seed))
    assert sorted(i for batch in batches for i in batch.tolist()) == list(range(len(labels)))
    assert [len(batch) for batch in batches] == [len(batch) for batch in plain]
    for batch in batches:
        if len(batch) % 2 == 0:
            first, second = split_pairs(labels[batch])
            most = max(Counter(labels[batch].tolist()).values())
            assert int((first == second).sum()) == max(0, most - len(batch) // 2)


def test_between_classes_pairs_every_class_with_every_other() -> None:
    labels = torch.arange(400) % 5
    generator, met = seeded(0), set()
    for _ in range(5):
        for batch in epoch_batches(400, 20, "between_classes", generator, labels):
            first, second = split_pairs(labels[batch])
            met |= {
                tuple(sorted(pair)) for pair in zip(first.tolist(), second.tolist(), strict=True)
            }
    assert len(met) == 10


def test_between_classes_needs_labels() -> None:
    with pytest.raises(UserError, match="needs the labels"):
        epoch_batches(4, 2, "between_classes", seeded(0))


@given(counts, batch_sizes, st.sampled_from(PAIRINGS), seeds)
@settings(max_examples=60, deadline=None)
def test_the_generator_alone_decides(
    samples: int, batch_size: int, pairing: str, seed: int
) -> None:
    torch.manual_seed(seed)
    labels = torch.arange(samples) % 3
    once = epoch_batches(samples, batch_size, pairing, seeded(seed), labels)
    torch.manual_seed(seed + 1)
    again = epoch_batches(samples, batch_size, pairing, seeded(seed), labels)
    assert [a.tolist() for a in once] == [b.tolist() for b in again]
    assert all(batch.dtype == torch.int64 for batch in once)
    assert num_batches(samples, batch_size, pairing) == len(once)


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    for pairing in PAIRINGS:
        epoch_batches(10, 4, pairing, seeded(0), torch.arange(10) % 3)
    assert torch.equal(before, torch.get_rng_state())


def test_epochs_differ_and_the_two_shuffles_are_independent() -> None:
    generator = seeded(3)
    epochs = [torch.cat(epoch_batches(200, 20, "split_batch", generator)) for _ in range(2)]
    assert not torch.equal(*epochs)
    sides = [split_pairs(b) for b in epoch_batches(200, 20, "two_shuffles", generator)]
    first, second = (torch.cat([pair[side] for pair in sides]) for side in (0, 1))
    assert (first == second).sum() < 10  # a fixed point an epoch, on average


def test_pairs_are_k_and_k_plus_half() -> None:
    first, second = split_pairs(torch.arange(7))
    assert (first.tolist(), second.tolist()) == ([0, 1, 2], [3, 4, 5])
    first, second = split_pairs(torch.arange(12).reshape(4, 3))
    assert second.tolist() == [[6, 7, 8], [9, 10, 11]]
    assert [len(side) for side in split_pairs(torch.arange(1))] == [0, 0]


def test_hand_counted_epochs() -> None:
    assert [len(b) for b in epoch_batches(10, 4, "split_batch", seeded(0))] == [4, 4, 2]
    assert [len(b) for b in epoch_batches(10, 5, "two_shuffles", seeded(0))] == [4] * 5
    assert [len(b) for b in epoch_batches(5, 8, "two_shuffles", seeded(0))] == [8, 2]


def test_mistakes_are_refused() -> None:
    with pytest.raises(UserError, match=r'unknown pairing "split_batches", did you mean "split_'):
        epoch_batches(10, 4, "split_batches", seeded(0))
    with pytest.raises(UserError, match="choose one of split_batch, two_shuffles"):
        num_batches(10, 4, "zzz")
    with pytest.raises(UserError, match="needs at least 1"):
        epoch_batches(10, 0, "split_batch", seeded(0))
    with pytest.raises(UserError, match="needs at least 2"):
        epoch_batches(10, 1, "two_shuffles", seeded(0))
    with pytest.raises(UserError, match="num_samples is -1"):
        epoch_batches(-1, 4, "split_batch", seeded(0))
