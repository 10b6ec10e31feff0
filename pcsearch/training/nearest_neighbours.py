"""k-nearest neighbours on frozen features: a reference without any training.

The similarity is the cosine, as in Wu, Xiong, Yu, Lin, "Unsupervised Feature Learning via
Non-Parametric Instance Discrimination", CVPR 2018. Here each neighbour has one vote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pcsearch.training.metrics import METRICS, Predictions

CHOICES = (1, 5, 20)
"""The values of k, of which validation images choose one; ties go to the smallest."""

_AT_ONCE = 1024
"""Images classified at once: their similarities to all others are in memory."""


def predictions(
    features: Tensor, labels: Tensor, asked: Tensor, num_classes: int, choices: Sequence[int]
) -> dict[int, Tensor]:
    """The class of each of the `asked` images, for each k of `choices`.

    The class with the most of the k most similar images wins; among equal numbers, the class with
    the larger sum of similarities. With fewer than k images, all of them vote.

    Args:
        features: [n, D] of the images with known classes.
        labels: [n] their classes.
        asked: [q, D].

    Returns:
        k to [q] classes.
    """
    known = F.normalize(features)
    most = min(max(choices), len(known))
    found: dict[int, list[Tensor]] = {k: [] for k in choices}
    for part in F.normalize(asked).split(_AT_ONCE):  # type: ignore[no-untyped-call]
        similarity, places = (part @ known.T).topk(most, dim=1)
        # Similarities add less than one vote, so they only decide among equal numbers of votes.
        votes = 1 + (1 + similarity) / (2 * (most + 1))
        classes = labels[places]
        for k in choices:
            totals = votes.new_zeros(len(part), num_classes, dtype=torch.float64)
            totals.scatter_add_(1, classes[:, :k], votes[:, :k].double())
            found[k].append(totals.argmax(dim=1))
    return {k: torch.cat(parts) for k, parts in found.items()}


def measured(predicted: Tensor, labels: Tensor, num_classes: int, metric: str) -> float:
    """A metric of hits, in percent, for predicted and correct classes [q]."""
    right, answer = labels.cpu().numpy(), predicted.cpu().numpy()
    ones = np.ones(len(right))
    hits = answer == right
    return METRICS[metric].measure(Predictions(right, answer, hits, ones, ones, num_classes))


def best_choice(scores: Mapping[int, float]) -> int:
    """The k with the highest score, the smallest of equal ones."""
    return min(scores, key=lambda k: (-scores[k], k))


__all__ = ["CHOICES", "best_choice", "measured", "predictions"]
