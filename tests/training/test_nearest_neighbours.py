"""k-nearest neighbours against votes that are counted one by one."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor

from pcsearch.training import nearest_neighbours
from pcsearch.training.nearest_neighbours import best_choice, measured, predictions


def naive(features: Tensor, labels: Tensor, asked: Tensor, k: int) -> list[int]:
    answers = []
    for one in asked.double():
        cosines = [float(one @ other / (one.norm() * other.norm())) for other in features.double()]
        nearest = sorted(range(len(cosines)), key=lambda place: -cosines[place])[:k]
        votes = Counter(int(labels[place]) for place in nearest)
        sums: Counter[int] = Counter()
        for place in nearest:
            sums[int(labels[place])] += cosines[place]
        answers.append(max(votes, key=lambda name: (votes[name], sums[name])))
    return answers


@pytest.mark.parametrize("at_once", [1024, 7])
def test_most_votes_win_and_then_the_more_similar(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest_neighbours, "_AT_ONCE", at_once)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(60, 5, generator=generator)
    labels = torch.arange(60) % 4
    asked = torch.randn(40, 5, generator=generator)
    found = predictions(features, labels, asked, 4, (1, 2, 4, 20))
    for k, answer in found.items():
        assert answer.tolist() == naive(features, labels, asked, k)


def test_by_hand() -> None:
    """Two neighbours of class 0 beside one of class 1 that is nearer; the length plays no part."""
    features = torch.tensor([[10.0, 0.0], [0.6, 0.8], [0.0, 0.5]])
    labels = torch.tensor([1, 0, 0])
    found = predictions(features, labels, torch.tensor([[2.0, 1.0]]), 2, (1, 2, 3, 20))
    # cosines 0.894, 0.894... for (0.6, 0.8): (1.2 + 0.8) / 2.236 = 0.894; for (0, 1): 0.447
    assert {k: answer.item() for k, answer in found.items()}[3] == 0
    assert found[20].item() == 0  # all three vote


def test_validation_chooses_the_smallest_of_the_best() -> None:
    assert best_choice({1: 60.0, 5: 70.0, 20: 70.0}) == 5
    assert best_choice({1: 60.0, 5: 50.0}) == 1


def test_the_metric_is_the_recipes() -> None:
    """3 of 4 images are right; of class 0 two of three, of class 1 one of one."""
    predicted, labels = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 0, 1])
    assert measured(predicted, labels, 2, "top1") == 75
    assert measured(predicted, labels, 2, "mean_class_top1") == pytest.approx(100 * 5 / 6)
