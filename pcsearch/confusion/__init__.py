"""Pairwise Confusion in pure PyTorch: the losses, the divergences behind them, and pairing.

    from pcsearch.confusion import PairwiseConfusionLoss

    criterion = PairwiseConfusionLoss(lambda_=0.1 * num_classes)
    loss = criterion(model(images), labels)

Method and equation numbers: Dubey, Gupta, Guo, Raskar, Farrell, Naik, "Pairwise Confusion for
Fine-Grained Visual Classification", ECCV 2018.
"""

from __future__ import annotations

from pcsearch.confusion.divergences import (
    entropy,
    euclidean_confusion,
    jeffreys_divergence,
    kl_divergence,
    total_variation,
)
from pcsearch.confusion.loss import PairwiseConfusionLoss
from pcsearch.confusion.pairing import PAIRINGS, epoch_batches, num_batches, split_pairs
from pcsearch.confusion.point_sets import energy_distance, point_set_confusion
from pcsearch.confusion.variants import VARIANTS

__all__ = [
    "PAIRINGS",
    "VARIANTS",
    "PairwiseConfusionLoss",
    "energy_distance",
    "entropy",
    "epoch_batches",
    "euclidean_confusion",
    "jeffreys_divergence",
    "kl_divergence",
    "num_batches",
    "point_set_confusion",
    "split_pairs",
    "total_variation",
]
