"""Shares of images with their intervals, and the comparison of two networks on the same images."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

_LEVEL = 0.95
_Z = 1.959963984540054
"""The normal quantile of 97.5 %."""


@dataclass(frozen=True)
class Share:
    """`hits` of `images`, in percent, with the 95 % interval of Wilson (1927)."""

    hits: int
    images: int
    percent: float
    low: float
    high: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def text(self) -> str:
        """`80.0 % [68.2, 88.2]`."""
        return f"{self.percent:.1f} % [{self.low:.1f}, {self.high:.1f}]"


def share(hits: int, images: int) -> Share:
    """The share of hits among images, at least one."""
    p, n, z2 = hits / images, images, _Z * _Z
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    low = 0.0 if hits == 0 else 100 * (centre - half)  # exactly, despite rounding
    high = 100.0 if hits == images else 100 * (centre + half)
    return Share(hits, images, 100 * p, low, high)


@dataclass(frozen=True)
class PairedDifference:
    """The difference between two networks on the same images, in points of accuracy.

    Attributes:
        only_first: Images that the first alone classified correctly.
        only_second: Images that the second alone classified correctly.
        points: First minus second.
        low, high: The 95 % interval of Bonett and Price (2012), the adjusted Wald interval.
        p_value: Of McNemar's exact test, two-sided.
    """

    only_first: int
    only_second: int
    points: float
    low: float
    high: float
    p_value: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def paired_difference(only_first: int, only_second: int, images: int) -> PairedDifference:
    """Compare two networks by the images on which they differ in being correct."""
    p_value = mcnemar_p(only_first, only_second)
    n = images + 2
    one, other = (only_first + 1) / n, (only_second + 1) / n
    centre = one - other
    half = _Z * math.sqrt((one + other - centre * centre) / n)
    low, high = max(-1.0, centre - half), min(1.0, centre + half)
    points = 100 * (only_first - only_second) / images
    return PairedDifference(only_first, only_second, points, 100 * low, 100 * high, p_value)


def mcnemar_p(only_first: int, only_second: int) -> float:
    """The p-value of McNemar's exact test, two-sided; 1 if the networks never differ.

    Args:
        only_first: Images that the first network alone classified correctly.
        only_second: Images that the second alone classified correctly.
    """
    from scipy.stats import binomtest

    differing = only_first + only_second
    return float(binomtest(only_first, differing).pvalue) if differing else 1.0
