"""The gain of an arm over the control, with its interval.

The interval covers three independent sources of chance:

- *seeds*: each arm's configuration was trained with a few seeds, the same in both arms;
- *search*: the repeats of the finalists could have chosen another configuration;
- *images*: the test images could have been others of the same kind.

Several arms are compared with one control, so their intervals are wider (`holm_levels`). Each
interval alone covers the true gain at least as often as the look's level says. All looks at the
test images together share an error rate of 5 % (`alpha_of`).
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_ERROR_RATE = 0.05
"""How often "helps" or "hurts" may be said of equal arms, over all looks."""

_PLANNED_SHARE = 0.8
"""The part of it that the planned looks at the test images share; later looks share the rest."""

ROUNDING = 1e-9
"""Differences whose spread is below this, in points of accuracy, are equal."""

_DRAWS, _CHOICES = 256, 64
"""Draws of the finalists' true values, and of the choices from each."""


@dataclass(frozen=True)
class Parts:
    """Standard errors of a gain, in points; None for what was not measured."""

    seeds: float | None = None
    search: float | None = None
    images: float | None = None


@dataclass(frozen=True)
class Typical:
    """Scatter to plan with, in points.

    - `pair`: the SD of a difference over seeds.
    - `choice`: the SD that the choice adds with one repeat of the finalists. Its square falls with
      the number of repeats.
    - `image`: the SD of a test image's mean difference.

    The values are roughly those of ten bird classes with a small network.
    """

    pair: float = 1.8
    choice: float = 1.2
    choice_freedom: int = 18
    image: float = 28.0


TYPICAL = Typical()


@dataclass(frozen=True)
class Gain:
    """A mean difference in points of accuracy, its interval, and the two-sided p-value.

    Attributes:
        mean: Mean of arm − control over the common seeds.
        low, high: Ends of the interval; None for fewer than two common seeds.
        p_value: For the hypothesis of no difference; None without an interval.
        level: Coverage of the interval, such as 0.96.
        parts: The standard errors behind the interval.
        better: Share of all pairs (one training of each arm, any seeds) in which the arm is better.
            Equal pairs count half: P(A > B) of Bouthillier et al., MLSys 2021.
    """

    mean: float
    low: float | None
    high: float | None
    p_value: float | None
    level: float = 1 - _ERROR_RATE * _PLANNED_SHARE
    parts: Parts = Parts()
    better: float | None = None

    @property
    def includes_zero(self) -> bool | None:
        """Whether the interval leaves open which arm is better; None without an interval."""
        return None if self.low is None or self.high is None else self.low <= 0 <= self.high

    def to_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class Confirmed:
    """One confirm training: its test accuracy in percent, and its hits as in the journal."""

    value: float
    hits: str | None = None


def mean_std(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean and the sample standard deviation (n − 1 in the denominator; None for one value)."""
    return fmean(values), stdev(values) if len(values) > 1 else None


def alpha_of(spent: Sequence[float], planned: int) -> float:
    """The error rate of the next look at the test images, after looks that `spent` their rates.

    The planned looks share 4 of the 5 %. Each later look, in a widened run, gets half of the rest.
    So at most 5 % of campaigns say "helps" or "hurts" of an arm without an effect, whenever one
    stops looking (Bonferroni's inequality).
    """
    used = sum(spent)
    share = _ERROR_RATE * _PLANNED_SHARE / planned
    if used + share <= _ERROR_RATE * _PLANNED_SHARE + 1e-12:
        return share
    return (_ERROR_RATE - used) / 2


def holm_levels(p_values: Mapping[str, float | None], alpha: float) -> dict[str, float]:
    """The error rate at which each of several arms is judged, by Holm's step-down procedure.

    The arms are judged in the order of their p-values. The first of k arms gets alpha / k, the
    next alpha / (k - 1), while each is within its rate. All others get the rate of the first that
    is not. So at most the share alpha of studies says "helps" or "hurts" of an arm without an
    effect (Holm, Scandinavian Journal of Statistics 1979). An arm without a p-value comes last.
    """
    left, levels = len(p_values), {}
    for p, name in sorted((p, name) for name, p in p_values.items() if p is not None):
        if p > alpha / left:
            break
        levels[name] = alpha / left
        left -= 1
    return {name: levels.get(name, alpha / max(1, left)) for name in p_values}


def measured_gain(
    treated: Mapping[int, Confirmed],
    control: Mapping[int, Confirmed],
    finalists: Sequence[FloatArray] = (),
    test_images: int = 0,
    alpha: float = _ERROR_RATE * _PLANNED_SHARE,
    weights: FloatArray | None = None,
) -> Gain | None:
    """The gain of `treated` over `control`, both by seed; None without a common seed.

    Differences are paired by seed, so a seed's effect on both arms cancels. The variance of their
    mean is the sum of its parts. Its degrees of freedom follow Welch and Satterthwaite.

    Args:
        treated: Confirm trainings of the arm.
        control: Confirm trainings of the control.
        finalists: [m, R] scores of each arm's m candidates on R fresh repeats; empty without
            finalists.
        test_images: Number of test images.
        alpha: The interval covers 1 − alpha.
        weights: [I] weight of each test image in an arm's value, 1 on average; None for equal ones.
    """
    common = [seed for seed in treated if seed in control]
    if not common:
        return None
    differences = [treated[seed].value - control[seed].value for seed in common]
    mean, deviation = mean_std(differences)
    level, better = 1 - alpha, _better(treated, control, common)
    if deviation is None:
        return Gain(mean, None, None, None, level, better=better)
    count = len(common)
    table = _hit_differences(treated, control, common, test_images)
    if table is not None and weights is not None:
        table *= weights
    seeds, images = deviation**2 / count, None
    if table is not None:
        images, floor = _image_variance(table)
        seeds = max(seeds, floor)  # equal means of a few seeds are chance, not certainty
    search = choice_variance(finalists)
    parts = Parts(*(None if v is None else math.sqrt(v) for v in (seeds, search, images)))
    if deviation < ROUNDING and not images and not search and seeds < ROUNDING**2:
        return Gain(mean, None, None, None, level, parts, better)
    sizes: list[tuple[float, float]] = [(seeds, count - 1)]
    if search:
        sizes.append((search, sum((m - 1) * (r - 1) for m, r in map(np.shape, finalists) if m > 1)))
    if images:
        sizes.append((images, _effective(weights, test_images) - 1))
    variance = sum(part for part, _ in sizes)
    freedom = variance**2 / sum(part**2 / of for part, of in sizes if part)
    low, high, p_value = _interval(mean, math.sqrt(variance), freedom, alpha)
    return Gain(mean, low, high, p_value, level, parts, better)


def choice_variance(finalists: Sequence[FloatArray]) -> float | None:
    """Variance of a gain because the repeats could have chosen other configurations.

    For each arm, the candidates' true values given their scores (empirical Bayes, normal) are drawn
    many times. For each draw, other repeats are drawn, and the choices that follow from them. The
    result is the variance of the chosen candidate's true value over these choices. Clearly worse
    candidates are never chosen and add nothing. Equally good ones add nothing either. The draws are
    the same in every call.

    Args:
        finalists: [m, R] scores of each arm, in points.

    Returns:
        The sum over arms; None if an arm has fewer than two repeats, so its scatter is unknown.
    """
    if not finalists or any(scores.shape[1] < 2 for scores in finalists):
        return None
    several = [scores for scores in finalists if scores.shape[0] > 1]
    if not several:
        return 0.0
    freedom = sum((m - 1) * (r - 1) for m, r in (scores.shape for scores in several))
    error = sum(float((_residuals(scores) ** 2).sum()) for scores in several) / freedom
    generator = np.random.default_rng(0)
    return sum(_variance_of_choice(scores, error, generator) for scores in several)


def pack_classes(labels: npt.NDArray[np.integer]) -> str:
    """[I] labels as text for a journal: little-endian 16-bit numbers in base64."""
    return base64.b64encode(np.asarray(labels).astype("<u2").tobytes()).decode()


def unpack_classes(classes: str | None, images: int) -> npt.NDArray[np.int64] | None:
    """[I] labels of `pack_classes`; None for none, and for text that does not hold I of them."""
    if classes is None:
        return None
    try:
        labels = np.frombuffer(base64.b64decode(classes), dtype="<u2")
    except ValueError:
        return None
    return labels.astype(np.int64) if len(labels) == images else None


def _effective(weights: FloatArray | None, images: int) -> float:
    """The number of equally weighted images with as many degrees of freedom, at least 2."""
    if weights is None:
        return images
    squares = weights**2
    return max(2.0, float(squares.sum() ** 2 / (squares**2).sum()))


def detectable_gain(
    seeds: int,
    repeats: int,
    test_images: int,
    power: float = 0.8,
    alpha: float = _ERROR_RATE * _PLANNED_SHARE,
) -> float:
    """The approximate smallest gain, in points, that the planned trainings can show.

    To show a gain means an interval without zero in the share `power` of campaigns. Trainings are
    assumed to scatter as in `TYPICAL`.

    Args:
        seeds: Confirm seeds, 2 or more.
        repeats: Repeats of each finalist; 0 leaves the choice out.
        test_images: 2 or more.
        power: Share of campaigns.
        alpha: Error rate of the look.
    """
    from scipy.special import ndtri, stdtrit

    sizes = (
        (TYPICAL.pair**2 / seeds, seeds - 1),
        (TYPICAL.choice**2 / repeats if repeats else 0.0, TYPICAL.choice_freedom),
        (TYPICAL.image**2 / test_images, test_images - 1),
    )
    variance = sum(part for part, _ in sizes)
    freedom = variance**2 / sum(part**2 / of for part, of in sizes)
    reach = float(stdtrit(freedom, 1 - alpha / 2)) + float(ndtri(power))
    return reach * math.sqrt(variance)


def _interval(
    mean: float, error: float, freedom: float, alpha: float
) -> tuple[float, float, float]:
    # scipy.special has the same distribution as scipy.stats and imports in a third of the time.
    from scipy.special import stdtr, stdtrit

    reach = float(stdtrit(freedom, 1 - alpha / 2)) * error
    return mean - reach, mean + reach, 2 * float(stdtr(freedom, -abs(mean) / error))


def _better(
    treated: Mapping[int, Confirmed], control: Mapping[int, Confirmed], seeds: Sequence[int]
) -> float:
    pairs = [treated[one].value - control[other].value for one in seeds for other in seeds]
    return fmean(1.0 if pair > 0 else 0.5 if pair == 0 else 0.0 for pair in pairs)


def _hit_differences(
    treated: Mapping[int, Confirmed],
    control: Mapping[int, Confirmed],
    seeds: Sequence[int],
    images: int,
) -> FloatArray | None:
    """[seeds, images] of +100, 0 or −100; None without hits, or for fewer than two images."""
    if images < 2:
        return None
    rows = []
    for seed in seeds:
        one, other = (_unpacked(arm[seed].hits, images) for arm in (treated, control))
        if one is None or other is None:
            return None
        rows.append(100.0 * (one - other))
    return np.stack(rows)


def _unpacked(hits: str | None, images: int) -> FloatArray | None:
    if hits is None:
        return None
    try:
        bits = np.unpackbits(np.frombuffer(base64.b64decode(hits), dtype=np.uint8))
    except ValueError:
        return None
    return bits[:images].astype(np.float64) if len(bits) >= images else None


def _image_variance(table: FloatArray) -> tuple[float, float]:
    """The variance of the mean due to the choice of images, and the least variance due to seeds.

    Two-way analysis of variance of [S, I] differences, seeds crossed with images, one value per
    cell: (MS_images − MS_error) / (S·I), and MS_error / (S·I).
    """
    seeds, images = table.shape
    by_image = table.mean(axis=0)
    mean_square = seeds * float(by_image.var(ddof=1))
    error = float((_residuals(table) ** 2).sum()) / ((seeds - 1) * (images - 1))
    cells = seeds * images
    return max(0.0, mean_square - error) / cells, error / cells


def _residuals(table: FloatArray) -> FloatArray:
    """The part that neither rows nor columns explain."""
    rows, columns = table.mean(axis=1, keepdims=True), table.mean(axis=0, keepdims=True)
    residuals: FloatArray = table - rows - columns + table.mean()
    return residuals


def _variance_of_choice(scores: FloatArray, error: float, generator: np.random.Generator) -> float:
    """`choice_variance` for one arm: the variance, in the mean over draws of true values."""
    candidates, repeats = scores.shape
    noise = error / repeats
    means = scores.mean(axis=1)
    spread = max(0.0, float(means.var(ddof=1)) - noise)
    if spread == 0.0:
        return 0.0
    shrink = spread / (spread + noise)
    centre = means.mean() + shrink * (means - means.mean())
    true = centre + math.sqrt(shrink * noise) * generator.standard_normal((_DRAWS, candidates))
    seen = true[:, None, :] + math.sqrt(noise) * generator.standard_normal(
        (_DRAWS, _CHOICES, candidates)
    )
    chosen = np.take_along_axis(true, seen.argmax(axis=2), axis=1)
    return float(chosen.var(axis=1, ddof=1).mean())
