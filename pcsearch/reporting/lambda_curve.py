"""Validation accuracy over λ/N, predicted by linear heads on frozen features.

The numbers behind `pcsearch probe`: means over repeats, paired differences, and the values of λ/N
that do not differ from the best one within error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pcsearch.search.verdicts.gain import ROUNDING
from pcsearch.training.metrics import deciding_metrics

Float64Array = npt.NDArray[np.float64]
_BoolArray = npt.NDArray[np.bool_]

_CONFIDENCE = 0.95

CAVEAT = (
    "This is a prediction from frozen features, not a verdict: training also changes the body, "
    "and only pcsearch tune measures that."
)


@dataclass(frozen=True)
class Difference:
    """A mean difference in percentage points and its 95 % interval (None without one)."""

    mean: float
    low: float | None
    high: float | None

    @property
    def may_be_zero(self) -> bool:
        """Whether the interval contains 0; without an interval, it may be."""
        return self.low is None or self.high is None or self.low <= 0 <= self.high


@dataclass(frozen=True)
class CurvePoint:
    """One value of λ/N.

    Attributes:
        lambda_over_n: λ/N.
        lambda_: λ.
        value: mean of the recipe's metric over the repeats, percent.
        standard_error: of that mean, percentage points.
        gain: value minus that of λ = 0, paired; None for λ = 0 itself.
        behind_best: value minus the best one, paired; None for the best itself.
        rate: the head's learning rate with the best mean.
    """

    lambda_over_n: float
    lambda_: float
    value: float
    standard_error: float
    gain: Difference | None
    behind_best: Difference | None
    rate: float

    @property
    def near_best(self) -> bool:
        """Whether it is the best value or does not differ from it within error."""
        return self.behind_best is None or self.behind_best.may_be_zero


@dataclass(frozen=True)
class FeatureFacts:
    """The features that the heads train on; see `pcsearch.training.frozen_features`."""

    layer: str
    layer_type: str
    pooled: bool
    dimensions: int
    weights: str

    def sentence(self) -> str:
        where = f"the input of {self.layer} ({self.layer_type})"
        if self.pooled:
            where += ", averaged over positions"
        return f"Features: {where}, {self.dimensions:,} numbers an image. Weights: {self.weights}."


@dataclass(frozen=True)
class LambdaCurve:
    """What `pcsearch.probe` finds for one dataset and one backbone.

    Attributes:
        study: `dataset/backbone`.
        num_classes: N.
        fit_images, val_images: of the first split.
        repeats: number of trainings of the heads, each with another split and seed.
        given_split: the dataset has its own validation images, so only seeds differ.
        metric: a name in `deciding_metrics`.
        variant, pairing, batch_size, epochs: of the heads' training; see `HeadSettings`.
        features: what the heads train on.
        points: the curve, by rising λ/N; the first has λ = 0.
        notes: sentences for the reader.
        feature_seconds, head_seconds: time of the two parts.
    """

    study: str
    num_classes: int
    fit_images: int
    val_images: int
    repeats: int
    given_split: bool
    metric: str
    variant: str
    pairing: str
    batch_size: int
    epochs: int
    features: FeatureFacts
    points: tuple[CurvePoint, ...]
    notes: tuple[str, ...]
    feature_seconds: float
    head_seconds: float

    @property
    def best(self) -> CurvePoint:
        """The value that looks best; the smallest of equal ones."""
        return next(point for point in self.points if point.behind_best is None)

    @property
    def near_best(self) -> tuple[CurvePoint, ...]:
        """The values that do not differ from the best one within error, including itself."""
        return tuple(point for point in self.points if point.near_best)

    def conclusion(self) -> str:
        """Which λ/N looks best, and how sure that is."""
        best, others = self.best, [point for point in self.near_best if point is not self.best]
        first = f"λ/N = {best.lambda_over_n:.3g} looks best ({best.value:.1f} %)"
        if not others:
            return f"{first}, and every other value is worse by more than the error."
        if len(others) == len(self.points) - 1:
            text = f"{first}, but none of the other values differs from it"
        else:
            listed = ", ".join(f"{point.lambda_over_n:.3g}" for point in others)
            text = f"{first}, but these do not differ from it: {listed}"
        if best.lambda_over_n == 0:
            end = " No λ > 0 looks better than plain cross-entropy."
        elif 0 in (point.lambda_over_n for point in others):
            end = " Whether λ > 0 helps stays open."
        else:
            end = ""
        return f"{text} (within error).{end}"

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain data."""
        points = [
            {
                **{("lambda" if key == "lambda_" else key): item for key, item in row.items()},
                "near_best": point.near_best,
            }
            for point in self.points
            for row in [asdict(point)]
        ]
        return {
            **asdict(self),
            "points": points,
            "notes": list(self.notes),
            "best_lambda_over_n": self.best.lambda_over_n,
            "near_best_lambda_over_n": [point.lambda_over_n for point in self.near_best],
            "conclusion": self.conclusion(),
            "caveat": CAVEAT,
        }


def curve_points(
    fractions: Sequence[float],
    num_classes: int,
    rates: Sequence[float],
    hits: Sequence[_BoolArray],
    weights: Sequence[Float64Array],
    *,
    given_split: bool,
    val_per_fit: float,
) -> tuple[CurvePoint, ...]:
    """The curve from the hits of each head.

    The learning rate of a repeat is the one with the best mean in the *other* repeats. So no head
    is chosen by the images that measure it. Validation images of repeats overlap, so a little
    optimism remains, equally for all λ.

    Repeats share training images, so their values are not independent. The errors use Nadeau and
    Bengio's correction ("Inference for the Generalization Error", Machine Learning 52, 2003): a
    mean of J repeats has the variance (1/J + val/fit)·s². With a given split, repeats share all
    images. Then the images are the sample, and each one's hits are averaged over the seeds.

    Args:
        fractions: the L values of λ/N, 0 first.
        num_classes: N.
        rates: the R learning rates.
        hits: of each of at least 2 repeats, bool [L, R, images].
        weights: of each repeat, [images] with mean 1: the weight of an image in the metric.
        given_split: see `LambdaCurve`.
        val_per_fit: validation images ÷ training images.
    """
    scores = np.stack([100 * (hit * w).mean(-1) for hit, w in zip(hits, weights, strict=True)])
    chosen = _best_elsewhere(scores)
    places = np.arange(len(fractions))
    if given_split:
        own = [hit[places, rate] for hit, rate in zip(hits, chosen, strict=True)]
        units = 100 * np.mean(own, axis=0).T * weights[0][:, None]
        correlated = 0.0
    else:
        units = np.stack([score[places, r] for score, r in zip(scores, chosen, strict=True)])
        correlated = val_per_fit
    means = units.mean(0)
    best = int(means.argmax())
    rate = scores.mean(0).argmax(1)
    return tuple(
        CurvePoint(
            lambda_over_n=float(fraction),
            lambda_=float(fraction) * num_classes,
            value=float(means[i]),
            standard_error=_standard_error(units[:, i], correlated),
            gain=None if i == 0 else _difference(units[:, i] - units[:, 0], correlated),
            behind_best=(
                None if i == best else _difference(units[:, i] - units[:, best], correlated)
            ),
            rate=float(rates[rate[i]]),
        )
        for i, fraction in enumerate(fractions)
    )


def image_weights(labels: npt.NDArray[np.int64], metric: str) -> Float64Array:
    """[images] the weight of each image in the metric; their mean is 1."""
    return deciding_metrics()[metric].weights(labels)


def _best_elsewhere(scores: Float64Array) -> npt.NDArray[np.int64]:
    """[J, L]: for each repeat and λ, the rate of [J, L, R] with the best sum over the others.

    Ties go to the lowest rate.
    """
    others = scores.sum(0, keepdims=True) - scores
    # Rounded, so that the order of summation does not break ties.
    best: npt.NDArray[np.int64] = np.round(others, 6).argmax(-1)
    return best


def _standard_error(values: Float64Array, correlated: float) -> float:
    return float(values.std(ddof=1)) * math.sqrt(1 / len(values) + correlated)


def _difference(values: Float64Array, correlated: float) -> Difference:
    """The mean and its t interval; no interval if all values are equal and not 0."""
    mean = float(values.mean())
    error = _standard_error(values, correlated)
    if error < ROUNDING:
        return Difference(mean, 0.0, 0.0) if abs(mean) < ROUNDING else Difference(mean, None, None)
    from scipy.special import stdtrit

    reach = float(stdtrit(len(values) - 1, (1 + _CONFIDENCE) / 2)) * error
    return Difference(mean, mean - reach, mean + reach)
