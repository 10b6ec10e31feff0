"""Pairwise Confusion in pure PyTorch: the losses, the divergences behind them, and pairing.

    from pcsearch.losses import PairwiseConfusionLoss

    criterion = PairwiseConfusionLoss(lambda_=0.1 * num_classes)
    loss = criterion(model(images), labels)

Method and equation numbers: Dubey, Gupta, Guo, Raskar, Farrell, Naik, "Pairwise Confusion for
Fine-Grained Visual Classification", ECCV 2018.
"""

from __future__ import annotations

from pcsearch.losses.classification import classification_loss
from pcsearch.losses.divergences import (
    energy_distance,
    entropy,
    euclidean_confusion,
    jeffreys_divergence,
    kl_divergence,
    point_set_confusion,
    total_variation,
)
from pcsearch.losses.pairing import PAIRINGS, epoch_batches, num_batches, split_pairs
from pcsearch.losses.pairwise_confusion import VARIANTS, PairwiseConfusionLoss

__all__ = [
    "PAIRINGS",
    "VARIANTS",
    "PairwiseConfusionLoss",
    "classification_loss",
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
