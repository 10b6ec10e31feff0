"""Means over seeds, and the gain of one arm over another, paired by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

CONFIDENCE = 0.95
ROUNDING = 1e-9
"""Points of accuracy: differences that spread less than this are equal."""


@dataclass(frozen=True)
class Gain:
    """A mean difference in percentage points, its 95 % interval, and the two-sided p-value.

    The interval covers what training seeds change, as measured on these test images with the
    chosen configurations. It does not cover another search, or other images.
    `low`, `high` and `p_value` are None when fewer than two seeds are common to both arms.
    """

    mean: float
    low: float | None
    high: float | None
    p_value: float | None

    @property
    def includes_zero(self) -> bool | None:
        """Whether the interval leaves open which arm is better; None without an interval."""
        return None if self.low is None or self.high is None else self.low <= 0 <= self.high

    def to_json(self) -> dict[str, float | None]:
        return {"mean": self.mean, "low": self.low, "high": self.high, "p_value": self.p_value}


def mean_std(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean and the sample standard deviation (n − 1 in the denominator; None of one value)."""
    return fmean(values), stdev(values) if len(values) > 1 else None


def paired_gain(treated: Mapping[int, float], control: Mapping[int, float]) -> Gain | None:
    """The paired-t gain of `treated` over `control`, both keyed by seed; None without a common one.

    The difference of each common seed counts once, so what both arms owe to the seed cancels:
    mean ± t(0.975, n − 1) · s / √n over the n differences, s their sample standard deviation. When
    all differences are equal, which a few seeds and few test images make a common accident, s is 0
    and t has no value: then there is no interval and no p-value, as with a single seed.
    """
    differences = [value - control[seed] for seed, value in treated.items() if seed in control]
    if not differences:
        return None
    mean, deviation = mean_std(differences)
    if deviation is None or deviation < ROUNDING:
        return Gain(mean, None, None, None)
    # scipy.special starts in a third of the time of scipy.stats and holds the same distribution.
    from scipy.special import stdtr, stdtrit

    freedom = len(differences) - 1
    error = deviation / math.sqrt(len(differences))
    reach = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
    p_value = 2 * float(stdtr(freedom, -abs(mean) / error))
    return Gain(mean, mean - reach, mean + reach, p_value)
