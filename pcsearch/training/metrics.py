"""The metrics of an evaluation, and what a training reports: one record an epoch.

A row of `METRICS` adds a metric. It is measured after every epoch and on the test images, and it is
in the journal, in checkpoints and in JSON. It can be a recipe's `metric`, which decides, if it is
a mean of hits over images (`HitMean`): the interval of a gain needs each image's part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

_Ints = npt.NDArray[np.int64]
_Bools = npt.NDArray[np.bool_]
_Floats = npt.NDArray[np.float64]

_CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Predictions:
    """A network's answers to I images, single crop.

    Attributes:
        labels: [I] correct class.
        predicted: [I] likeliest class.
        in_top5: [I] whether the correct class is among the min(5, N) likeliest.
        nll: [I] negative log-likelihood of the correct class, in nats.
        confidence: [I] probability of the likeliest class.
        num_classes: N.
    """

    labels: _Ints
    predicted: _Ints
    in_top5: _Bools
    nll: _Floats
    confidence: _Floats
    num_classes: int

    @property
    def hits(self) -> _Bools:
        """[I] whether the likeliest class is correct."""
        hits: _Bools = self.predicted == self.labels
        return hits


def _equal_weights(labels: _Ints) -> _Floats:
    return np.ones(len(labels))


def _class_weights(labels: _Ints) -> _Floats:
    """Each class that occurs counts the same."""
    counts = np.bincount(labels)
    weights: _Floats = len(labels) / (np.count_nonzero(counts) * counts[labels])
    return weights


@dataclass(frozen=True)
class HitMean:
    """What a metric needs to decide: it is 100 · mean over images of weight · hit.

    Attributes:
        chance: The percentage of guessing, from N and the percentage of the most frequent class.
        weights: From labels [I] to each image's weight [I], 1 on average.
        needs_classes: Whether the weights differ, so that the journal must keep the test images'
            classes.
    """

    chance: Callable[[int, float], float]
    weights: Callable[[_Ints], _Floats] = _equal_weights
    needs_classes: bool = False


@dataclass(frozen=True)
class Metric:
    """A number that an evaluation measures.

    Attributes:
        name: As recipes, journals and JSON name it.
        label: As sentences name it; `short` is for headings.
        measure: From predictions to the value. Percentages are from 0 to 100.
        decides: How it is a mean over images; None for one that cannot be a recipe's `metric`.
    """

    name: str
    label: str
    short: str
    measure: Callable[[Predictions], float]
    decides: HitMean | None = None


def _mean_class_percent(predictions: Predictions) -> float:
    images = np.bincount(predictions.labels, minlength=predictions.num_classes)
    hits = np.bincount(
        predictions.labels, weights=predictions.hits, minlength=predictions.num_classes
    )
    present = images > 0
    return _percent(hits[present] / images[present])


def _calibration_error_percent(predictions: Predictions) -> float:
    """Expected calibration error over 15 equal-width bins of confidence, (b/15, (b+1)/15].

    Σ_b (n_b / n)·|accuracy_b − confidence_b| = Σ_b |Σ in b of (hit − confidence)| / n.
    """
    inner_edges = np.arange(1, _CALIBRATION_BINS) / _CALIBRATION_BINS
    bins = np.searchsorted(inner_edges, predictions.confidence, side="left")
    gaps = predictions.hits - predictions.confidence
    return 100.0 * float(np.abs(np.bincount(bins, weights=gaps)).sum()) / len(gaps)


def _percent(shares: npt.NDArray[Any]) -> float:
    return 100.0 * float(shares.mean())


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "top1",
            "top-1",
            "top-1",
            lambda predictions: _percent(predictions.hits),
            HitMean(lambda classes, majority: max(100 / classes, majority)),
        ),
        Metric(
            "mean_class_top1",
            "mean per-class top-1",
            "class top-1",
            _mean_class_percent,
            HitMean(lambda classes, majority: 100 / classes, _class_weights, needs_classes=True),
        ),
        Metric("top5", "top-5", "top-5", lambda predictions: _percent(predictions.in_top5)),
        Metric(
            "nll",
            "mean negative log-likelihood, in nats",
            "NLL",
            lambda predictions: float(predictions.nll.mean()),
        ),
        Metric("ece", "expected calibration error", "ECE", _calibration_error_percent),
    )
}
"""Every metric by name, in the order of journals. `tests/test_registries.py` adds one."""


def deciding_metrics() -> dict[str, HitMean]:
    """The metrics that can be a recipe's `metric`, by name."""
    return {name: one.decides for name, one in METRICS.items() if one.decides is not None}


@dataclass(frozen=True)
class Evaluation:
    """Measures of one network on one set of images, single crop.

    Attributes:
        values: every metric of `METRICS` by name.
        images: number of images measured.
        hits: one bit an image, 1 if its class was predicted, the first image in the highest bit.
            It is base64 because PyTorch reads no checkpoint that holds empty `bytes`.
    """

    values: dict[str, float]
    images: int
    hits: str = ""

    def __getitem__(self, metric: str) -> float:
        return self.values[metric]


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
    if validation is not None:
        if "values" not in validation:  # a checkpoint of version 1 has the metrics side by side
            others = {key: validation[key] for key in ("images", "hits") if key in validation}
            metrics = {key: validation[key] for key in validation if key not in others}
            validation = {"values": metrics, **others}
        validation = Evaluation(**validation)
    return EpochRecord(**{**values, "validation": validation})
