"""Statistics of predictions: classes, pairs of classes, two networks, and calibration.

Pure functions of labels, predicted classes and log-probabilities. `analysis.py` applies them to a
campaign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pcsearch.reporting.proportions import mcnemar_p
from pcsearch.training.metrics import METRICS, Predictions

Ints = npt.NDArray[np.int32] | npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
LogProbabilities = npt.NDArray[np.float16] | npt.NDArray[np.float32] | npt.NDArray[np.float64]

FALSE_DISCOVERY_RATE = 0.05
"""Expected share of false ones among the classes that are said to differ."""

_ADDED_FREEDOM = 8.0
"""What all classes together add to one class's degrees of freedom. With more of it, classes whose
trainings scatter much would be said to differ too often; with less, hardly any class ever would."""

_LOWEST_TEMPERATURE, _HIGHEST_TEMPERATURE = 0.05, 20.0
_NUMBERS_AT_ONCE = 20_000_000
"""A temperature is one number, so it is fitted to at most this many log-probabilities."""


@dataclass(frozen=True)
class ClassGain:
    """One class in an arm against the control.

    Attributes:
        index: The class.
        images: Number of its test images.
        gain: Difference of its accuracy in points, the mean over common seeds; None without images.
        p_value: Two-sided, for the hypothesis of no difference; None if it cannot be computed.
        q_value: The p-value adjusted for the number of classes (Benjamini-Hochberg): of all classes
            with at most this q-value, about this share differs by chance.
    """

    index: int
    images: int
    gain: float | None
    p_value: float | None
    q_value: float | None

    @property
    def differs(self) -> bool:
        return self.q_value is not None and self.q_value <= FALSE_DISCOVERY_RATE


def class_gains(differences: Floats, labels: Ints, classes: int) -> list[ClassGain]:
    """Every class's gain with p- and q-values that cover training seeds and test images.

    A two-way analysis of variance of each class's images and the seeds gives the variance of its
    gain. A class has few images and seeds, so its mean squares are uncertain, and may be 0. Each is
    averaged with that of all classes together, as moderated t-tests do (Smyth 2004), but counts as
    no less than the latter.

    Args:
        differences: [S, I] by seed and image: 100 if only the arm was right, −100 if only the
            control was, else 0.
        labels: [I] correct class.
        classes: N.
    """
    from scipy.special import stdtr
    from scipy.stats import false_discovery_control

    seeds = len(differences)
    tables = [differences[:, labels == index] for index in range(classes)]
    squares = [_MeanSquares.of(table) if min(table.shape) > 1 else None for table in tables]
    pooled = _MeanSquares.pooled([one for one in squares if one is not None])
    gains: list[float | None] = []
    p_values: list[float | None] = []
    for table, own in zip(tables, squares, strict=True):
        images = table.shape[1]
        mean = float(table.mean()) if images else None
        p_value = None
        if own is not None and pooled is not None and mean is not None:
            variance, freedom = own.variance(pooled, seeds * images)
            if variance > 0:
                p_value = 2 * float(stdtr(freedom, -abs(mean) / np.sqrt(variance)))
            elif abs(mean) < 1e-9:
                p_value = 1.0
        gains.append(mean)
        p_values.append(p_value)
    known = [p_value for p_value in p_values if p_value is not None]
    adjusted = iter(false_discovery_control(known).tolist() if known else [])
    return [
        ClassGain(index, table.shape[1], gain, p_value, None if p_value is None else next(adjusted))
        for index, (table, gain, p_value) in enumerate(zip(tables, gains, p_values, strict=True))
    ]


@dataclass(frozen=True)
class _MeanSquares:
    """Mean squares of a two-way analysis of variance, seeds crossed with images."""

    seeds: float
    images: float
    error: float
    seeds_freedom: float
    images_freedom: float

    @staticmethod
    def of(table: Floats) -> _MeanSquares:
        """Of [S, n] differences, S and n at least 2."""
        seeds, images = table.shape
        rows, columns = table.mean(axis=1, keepdims=True), table.mean(axis=0, keepdims=True)
        error = float(((table - rows - columns + table.mean()) ** 2).sum())
        return _MeanSquares(
            images * float(rows.var(ddof=1)),
            seeds * float(columns.var(ddof=1)),
            error / ((seeds - 1) * (images - 1)),
            seeds - 1,
            images - 1,
        )

    @staticmethod
    def pooled(all_: Sequence[_MeanSquares]) -> _MeanSquares | None:
        """Of all classes, each weighted by its degrees of freedom; None without a class."""
        if not all_:
            return None
        seeds = np.array([one.seeds_freedom for one in all_])
        images = np.array([one.images_freedom for one in all_])
        both = seeds * images
        return _MeanSquares(
            float(np.dot(seeds, [one.seeds for one in all_]) / seeds.sum()),
            float(np.dot(images, [one.images for one in all_]) / images.sum()),
            float(np.dot(both, [one.error for one in all_]) / both.sum()),
            float(seeds.sum()),
            float(images.sum()),
        )

    def variance(self, pooled: _MeanSquares, cells: int) -> tuple[float, float]:
        """The variance of a mean over so many cells, and its degrees of freedom.

        (MS_seeds + MS_images − MS_error) / cells; the freedom by Welch and Satterthwaite.
        """
        by_seed = _moderated(self.seeds, self.seeds_freedom, pooled.seeds, pooled.seeds_freedom)
        by_image = _moderated(
            self.images, self.images_freedom, pooled.images, pooled.images_freedom
        )
        seeds, images = by_seed[0], max(0.0, by_image[0] - pooled.error)
        total = seeds + images
        if total <= 0:
            return 0.0, 1.0
        return total / cells, total**2 / (seeds**2 / by_seed[1] + images**2 / by_image[1])


def _moderated(
    own: float, own_freedom: float, pooled: float, pooled_freedom: float
) -> tuple[float, float]:
    """A class's mean square and its degrees of freedom, after those of all classes are added."""
    added = min(_ADDED_FREEDOM, pooled_freedom)
    mean = (own_freedom * own + added * pooled) / (own_freedom + added)
    return max(mean, pooled), own_freedom + added


@dataclass(frozen=True)
class McNemar:
    """Two networks of one seed on the same images.

    Attributes:
        only_arm: Images that only the arm's network classified correctly.
        only_control: Those that only the control's did.
        p_value: Exact, two-sided: how likely such unequal numbers are by chance.
    """

    only_arm: int
    only_control: int
    p_value: float


def mcnemar(arm: npt.NDArray[np.bool_], control: npt.NDArray[np.bool_]) -> McNemar:
    """McNemar's exact test on the hits [I] of two networks."""
    only_arm = int((arm & ~control).sum())
    only_control = int((control & ~arm).sum())
    return McNemar(only_arm, only_control, mcnemar_p(only_arm, only_control))


def confusion_counts(labels: Ints, predicted: Ints, classes: int) -> npt.NDArray[np.int64]:
    """[N, N]: images of the row's class for which the column's class was predicted."""
    cells = labels.astype(np.int64) * classes + predicted
    counts: npt.NDArray[np.int64] = np.bincount(cells, minlength=classes**2)
    return counts.reshape(classes, classes)


def most_confused(counts: Floats | npt.NDArray[np.int64], at_most: int) -> list[tuple[int, int]]:
    """The pairs of classes that are most often taken for each other, most first; never 0 times.

    Args:
        counts: [N, N] of `confusion_counts`, or their mean over trainings.
        at_most: Number of pairs. Of equal ones, those of lower classes.
    """
    errors = np.triu(counts + counts.T, k=1)
    order = np.argsort(-errors, axis=None, kind="stable")[:at_most]
    pairs = [divmod(int(cell), len(counts)) for cell in order]
    return [(one, other) for one, other in pairs if errors[one, other] > 0]


def point_set_confusions(log_probabilities: LogProbabilities, labels: Ints, classes: int) -> Floats:
    """[N, N]: D_EC(S_i, S_j) of the predictions for the images of two classes (Eq. 6).

    The mean over all pairs (u in S_i, v in S_j) of ‖u − v‖₂², computed as
    mean ‖u‖² + mean ‖v‖² − 2·(mean u)·(mean v). NaN for a class without images.
    """
    images = np.bincount(labels, minlength=classes)
    sums, squares = np.zeros((classes, log_probabilities.shape[1])), np.zeros(classes)
    for part in _parts(log_probabilities):
        probabilities = np.exp(log_probabilities[part].astype(np.float64))
        probabilities /= probabilities.sum(axis=1, keepdims=True)  # as float16 rounds them
        np.add.at(sums, labels[part], probabilities)
        np.add.at(squares, labels[part], (probabilities**2).sum(axis=1))
    with np.errstate(invalid="ignore"):
        means, squares = sums / images[:, None], squares / images
    confusions: Floats = squares[:, None] + squares[None, :] - 2 * means @ means.T
    return np.maximum(confusions, 0.0)


def within_and_between(confusions: Floats) -> tuple[float | None, float | None]:
    """Mean of D_EC(S_i, S_i) over classes, and of D_EC(S_i, S_j) over pairs of different ones."""
    present = np.flatnonzero(~np.isnan(np.diag(confusions)))
    known = confusions[np.ix_(present, present)]
    count = len(known)
    if not count:
        return None, None
    within = float(np.trace(known)) / count
    between = (float(known.sum()) - count * within) / (count * (count - 1)) if count > 1 else None
    return within, between


def calibration(
    log_probabilities: LogProbabilities, predicted: Ints, labels: Ints, temperature: float
) -> tuple[float, float]:
    """Mean negative log-likelihood in nats, and expected calibration error in percent.

    Both of softmax(log p / T). A temperature changes no predicted class.
    """
    nll, confidence = [], []
    for part in _parts(log_probabilities):
        scaled = _scaled(log_probabilities[part], temperature)
        nll.append(-scaled[np.arange(len(scaled)), labels[part]])
        confidence.append(np.exp(scaled.max(axis=1)))
    measured = Predictions(
        labels.astype(np.int64),
        predicted.astype(np.int64),
        np.ones(len(labels), dtype=bool),
        np.concatenate(nll),
        np.concatenate(confidence),
        log_probabilities.shape[1],
    )
    return METRICS["nll"].measure(measured), METRICS["ece"].measure(measured)


def fitted_temperature(predictions: Sequence[tuple[LogProbabilities, Ints]]) -> float:
    """The T that minimises the mean negative log-likelihood of softmax(log p / T).

    Args:
        predictions: Of each network [I, N] log-probabilities and [I] labels.

    Returns:
        From 0.05 to 20. Above 1, the networks were too sure.
    """
    from scipy.optimize import minimize_scalar

    numbers = sum(table.size for table, _ in predictions)
    step = -(-numbers // _NUMBERS_AT_ONCE)
    used = [(table[::step].astype(np.float32), labels[::step]) for table, labels in predictions]

    def loss(log_temperature: float) -> float:
        total = 0.0
        for table, labels in used:
            scaled = _scaled(table, float(np.exp(log_temperature)))
            total -= float(scaled[np.arange(len(scaled)), labels].sum())
        return total / sum(len(labels) for _, labels in used)

    ends = (np.log(_LOWEST_TEMPERATURE), np.log(_HIGHEST_TEMPERATURE))
    found = minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def _scaled(log_probabilities: LogProbabilities, temperature: float) -> Floats:
    """log softmax(log p / T), float64."""
    scaled = log_probabilities.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    scaled -= np.log(np.exp(scaled).sum(axis=1, keepdims=True))
    result: Floats = scaled
    return result


def _parts(table: LogProbabilities) -> list[slice]:
    """Rows in parts of a few million numbers, so that float64 copies stay small."""
    rows = max(1, _NUMBERS_AT_ONCE // 10 // max(1, table.shape[1]))
    return [slice(start, start + rows) for start in range(0, len(table), rows)]
