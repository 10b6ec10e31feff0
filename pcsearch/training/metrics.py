"""What a training reports: one record an epoch, and the measures of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Evaluation:
    """Measures of one network on one set of images, single crop.

    Attributes:
        top1: percent of images whose likeliest class is correct.
        mean_class_top1: mean over classes of each one's top-1 percent; classes without an image
            in the set do not count.
        top5: percent of images whose class is among the min(5, N) likeliest.
        nll: mean negative log-likelihood of the correct class, in nats.
        ece: expected calibration error in percent, over 15 equal-width bins of confidence
            ((b/15, (b+1)/15]): Σ_b (n_b / n)·|accuracy_b − mean confidence_b|.
        images: number of images measured.
        hits: one bit an image, 1 if its class was predicted, the first image in the highest bit.
            It is base64 because PyTorch reads no checkpoint that holds empty `bytes`.
    """

    top1: float
    mean_class_top1: float
    top5: float
    nll: float
    ece: float
    images: int
    hits: str = ""


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of training.

    Attributes:
        epoch: counts from 1.
        train_loss: mean loss over the epoch's samples, including penalties.
        train_top1: percent, on augmented images, in training mode, during the epoch.
        lr: the body's learning rate at the epoch's last update; the head's if it trains alone.
        seconds: time of training and validation.
        images: training images shown (two shuffles show each one twice).
        validation: None without validation images.
        clipped: percent of updates whose gradient norm exceeded `clip_norm`; None without
            `clip_norm` and in checkpoints from before it was counted.
        replayed: read from a checkpoint rather than trained just now; ignored by comparisons.
    """

    epoch: int
    train_loss: float
    train_top1: float
    lr: float
    seconds: float
    images: int
    validation: Evaluation | None
    clipped: float | None = None
    replayed: bool = field(default=False, compare=False)


def record_from_dict(values: Mapping[str, Any]) -> EpochRecord:
    """The inverse of `dataclasses.asdict`; raises TypeError or KeyError for other content."""
    validation = values["validation"]
    return EpochRecord(
        **{**values, "validation": None if validation is None else Evaluation(**validation)}
    )
