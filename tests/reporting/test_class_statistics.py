"""Statistics of predictions against numbers by hand, plain loops, PyTorch and scipy."""

from __future__ import annotations

import math
from itertools import product
from statistics import fmean

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from pcsearch.losses.divergences import point_set_confusion
from pcsearch.reporting import class_statistics as statistics
from pcsearch.reporting.class_statistics import (
    calibration,
    class_gains,
    confusion_counts,
    fitted_temperature,
    mcnemar,
    most_confused,
    point_set_confusions,
    within_and_between,
)

seeds = st.integers(0, 10**6)


def made_up(seed: int, images: int = 40, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """[I, N] log-probabilities and [I] labels, each class with images."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, images - classes)])
    logits = rng.normal(0, 1.5, (images, classes)) + 2 * np.eye(classes)[labels]
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)), labels


# McNemar


def test_mcnemar_by_hand() -> None:
    """Of 4 images on which they differ, all are won by one: 2 · (1/2)⁴ = 1/8."""
    arm = np.array([True] * 4 + [True, False])
    control = np.array([False] * 4 + [True, False])
    assert mcnemar(arm, control) == statistics.McNemar(4, 0, 0.125)
    assert mcnemar(control, arm) == statistics.McNemar(0, 4, 0.125)
    assert mcnemar(arm, arm) == statistics.McNemar(0, 0, 1.0)


def test_mcnemar_is_the_tail_of_a_binomial() -> None:
    """5 against 1: P(X ≤ 1) + P(X ≥ 5) of 6 fair coins = 2 · 7/64."""
    arm = np.array([True] * 5 + [False])
    assert mcnemar(arm, ~arm).p_value == pytest.approx(14 / 64)


# Confusions


def test_confusion_counts_by_hand() -> None:
    labels, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 1, 0, 1, 1])
    counts = confusion_counts(labels, predicted, 4)
    assert counts.tolist() == [[1, 2, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert most_confused(counts, 10) == [(0, 1), (1, 2)], "3 and 1 errors; others have none"
    assert most_confused(counts, 1) == [(0, 1)]
    assert most_confused(np.diag([3, 3]), 10) == []


@given(seeds)
def test_confusion_counts_against_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, predicted = rng.integers(0, 5, (2, 30))
    pairs = list(zip(labels.tolist(), predicted.tolist(), strict=True))
    counts = confusion_counts(labels, predicted, 5)
    assert all(counts[i, j] == pairs.count((i, j)) for i, j in product(range(5), repeat=2))
    errors = {(i, j): counts[i, j] + counts[j, i] for i in range(5) for j in range(i + 1, 5)}
    found = most_confused(counts, 4)
    assert [errors[pair] for pair in found] == sorted(errors.values(), reverse=True)[: len(found)]


def test_point_set_confusion_by_hand() -> None:
    """S_0 = {(1, 0)}, S_1 = {(0, 1), (1/2, 1/2)}: (2 + 1/2) / 2; within S_1 (0 + 1/2) · 2 / 4."""
    probabilities = np.array([[1, 1e-30], [1e-30, 1], [0.5, 0.5]])
    found = point_set_confusions(np.log(probabilities), np.array([0, 1, 1]), 2)
    assert found == pytest.approx(np.array([[0, 1.25], [1.25, 0.25]]))
    assert within_and_between(found) == pytest.approx((0.125, 1.25))


@given(seeds)
def test_point_set_confusion_is_the_mean_over_all_pairs(seed: int) -> None:
    table, labels = made_up(seed)
    found = point_set_confusions(table, labels, 4)
    points = np.exp(table)
    for i, j in product(range(4), repeat=2):
        pairs = product(points[labels == i], points[labels == j])
        assert found[i, j] == pytest.approx(fmean(((u - v) ** 2).sum() for u, v in pairs))
        sets = (torch.tensor(points[labels == one]) for one in (i, j))
        assert found[i, j] == pytest.approx(point_set_confusion(*sets).item())
    within, between = within_and_between(found)
    assert within == pytest.approx(np.diag(found).mean())
    assert between == pytest.approx(fmean(found[i, j] for i in range(4) for j in range(4) if i - j))


def test_a_class_without_images_has_no_confusion() -> None:
    table, labels = made_up(0)
    found = point_set_confusions(np.pad(table, ((0, 0), (0, 1)), constant_values=-40), labels, 5)
    assert np.isnan(found[4]).all()
    assert np.isnan(found[:, 4]).all()
    before = point_set_confusions(table, labels, 4)
    assert found[:4, :4] == pytest.approx(before)
    assert within_and_between(found) == pytest.approx(within_and_between(before))
    nothing = within_and_between(np.full((2, 2), np.nan))
    assert nothing == (None, None)


def test_many_images_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    table, labels = made_up(1)
    whole = point_set_confusions(table, labels, 4), calibration(table, labels, labels, 2.0)
    monkeypatch.setattr(statistics, "_NUMBERS_AT_ONCE", 120)
    assert point_set_confusions(table, labels, 4) == pytest.approx(whole[0])
    assert calibration(table, labels, labels, 2.0) == pytest.approx(whole[1])


# Calibration


def test_calibration_by_hand() -> None:
    """Two images with confidence 0.8, one of them right."""
    table = np.log([[0.8, 0.2], [0.8, 0.2]])
    nll, ece = calibration(table, np.array([0, 0]), np.array([0, 1]), 1.0)
    assert nll == pytest.approx(-(math.log(0.8) + math.log(0.2)) / 2)
    assert ece == pytest.approx(100 * (0.8 - 0.5))
    # T = 2: 0.8 and 0.2 become √0.8 and √0.2 over their sum, 2/3 and 1/3
    nll, ece = calibration(table, np.array([0, 0]), np.array([0, 1]), 2.0)
    assert nll == pytest.approx(-(math.log(2 / 3) + math.log(1 / 3)) / 2)
    assert ece == pytest.approx(100 * (2 / 3 - 0.5))


def test_the_predicted_class_is_the_networks_where_rounding_makes_two_equal() -> None:
    table = np.log([[0.5, 0.5]])
    assert calibration(table, np.array([1]), np.array([1]), 1.0)[1] == pytest.approx(50)
    assert calibration(table, np.array([0]), np.array([1]), 1.0)[1] == pytest.approx(50)
    sure = np.log([[0.75, 0.25]])
    assert calibration(sure, np.array([1]), np.array([1]), 1.0)[1] == pytest.approx(25)


def test_temperature_by_hand() -> None:
    """Three of four are right at odds of 9 to 1: at T = 2 the odds are 3 to 1, as they should."""
    table, labels = np.log([[0.9, 0.1]] * 4), np.array([0, 0, 0, 1])
    assert fitted_temperature([(table, labels)]) == pytest.approx(2.0, rel=1e-3)
    halves = [(table[:2], labels[:2]), (table[2:], labels[2:])]
    assert fitted_temperature(halves) == pytest.approx(2.0, rel=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_temperature_minimises_the_likelihood(seed: int) -> None:
    table, labels = made_up(seed, images=200)

    def loss(temperature: float) -> float:
        rows = zip(table.tolist(), labels.tolist(), strict=True)
        return fmean(
            math.log(sum(math.exp(v / temperature) for v in row)) - row[label] / temperature
            for row, label in rows
        )

    best = optimize.brute(lambda t: loss(float(t[0])), [(0.3, 4)], Ns=400)[0]
    found = fitted_temperature([(table.astype(np.float16), labels)])
    assert found == pytest.approx(best, rel=5e-3)
    assert calibration(table, labels, labels, found)[0] == pytest.approx(loss(found))


def test_a_temperature_has_limits() -> None:
    """All right: the surer, the better. All at random: never sure enough of nothing."""
    table, labels = np.log([[0.6, 0.4]] * 3), np.array([0, 0, 0])
    assert fitted_temperature([(table, labels)]) == pytest.approx(0.05, rel=1e-2)
    assert fitted_temperature([(table, 1 - labels)]) == pytest.approx(20, rel=1e-2)


def test_a_temperature_is_fitted_to_some_of_very_many(monkeypatch: pytest.MonkeyPatch) -> None:
    table, labels = made_up(3, images=3000)
    whole = fitted_temperature([(table, labels)])
    monkeypatch.setattr(statistics, "_NUMBERS_AT_ONCE", 4000)
    assert fitted_temperature([(table, labels)]) == pytest.approx(whole, rel=0.15)


# Classes


def naive_mean_squares(table: np.ndarray) -> tuple[float, float, float]:
    """Of seeds, images and error, by plain loops."""
    s, n = table.shape
    mean = fmean(table.ravel())
    rows = [fmean(row) for row in table]
    columns = [fmean(column) for column in table.T]
    error = sum(
        (table[a, b] - rows[a] - columns[b] + mean) ** 2 for a in range(s) for b in range(n)
    )
    return (
        n * sum((row - mean) ** 2 for row in rows) / (s - 1),
        s * sum((column - mean) ** 2 for column in columns) / (n - 1),
        error / ((s - 1) * (n - 1)),
    )


@given(seeds)
def test_class_gains_against_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.array([0] * 6 + [1] * 9 + [2] * 4 + [3])
    differences = 100.0 * rng.choice([-1, 0, 0, 1], (3, len(labels)))
    found = class_gains(differences, labels, 5)
    tables = {c: differences[:, labels == c] for c in range(3)}
    own = {c: naive_mean_squares(table) for c, table in tables.items()}
    free = {c: (2, table.shape[1] - 1) for c, table in tables.items()}
    pooled_seeds = fmean(own[c][0] for c in own)
    pooled_images = sum(own[c][1] * free[c][1] for c in own) / sum(free[c][1] for c in own)
    pooled_error = sum(own[c][2] * free[c][1] for c in own) / sum(free[c][1] for c in own)
    p_values = []
    for c, table in tables.items():
        by_seed = max((2 * own[c][0] + 6 * pooled_seeds) / 8, pooled_seeds), 2 + 6
        many = free[c][1] + 8
        by_image = max((free[c][1] * own[c][1] + 8 * pooled_images) / many, pooled_images), many
        extra = max(0.0, by_image[0] - pooled_error)
        variance = (by_seed[0] + extra) / table.size
        freedom = (by_seed[0] + extra) ** 2 / (
            by_seed[0] ** 2 / by_seed[1] + extra**2 / by_image[1]
        )
        p_values.append(2 * stats.t.sf(abs(table.mean()) / math.sqrt(variance), freedom))
        assert found[c].gain == pytest.approx(table.mean())
        assert found[c].images == table.shape[1]
        assert found[c].p_value == pytest.approx(p_values[c])
    ranked = sorted(p_values)
    for c, p_value in enumerate(p_values):  # Benjamini and Hochberg by their definition
        least = min(3 * ranked[k] / (k + 1) for k in range(3) if ranked[k] >= p_value)
        assert found[c].q_value == pytest.approx(min(1.0, least))
    assert (found[3].images, found[3].p_value, found[3].q_value) == (1, None, None)
    assert found[3].gain == pytest.approx(differences[:, -1].mean())
    assert found[4] == statistics.ClassGain(4, 0, None, None, None)


def test_a_class_that_one_arm_alone_knows_is_found_without_any_scatter_of_its_own() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 12)
    differences = 100.0 * rng.choice([-1, 0, 0, 0, 1], (5, 120))
    differences[:, labels == 4] = 100.0
    found = class_gains(differences, labels, 10)
    assert [one.index for one in found if one.differs] == [4]
    assert found[4].gain == 100


def test_equal_arms_and_single_seeds() -> None:
    labels = np.repeat(np.arange(3), 4)
    equal = class_gains(np.zeros((3, 12)), labels, 3)
    assert [(one.gain, one.p_value, one.q_value) for one in equal] == [(0, 1, 1)] * 3
    single = class_gains(np.full((1, 12), 100.0), labels, 3)
    assert [(one.gain, one.p_value, one.differs) for one in single] == [(100, None, False)] * 3


def test_equal_methods_are_seldom_said_to_differ() -> None:
    """Networks of both arms scatter by class and by image, as real ones do."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(20), 15)
    campaigns, found, small = 60, 0, []
    for _ in range(campaigns):
        level = rng.normal(1, 1.5, len(labels))
        hits = []
        for _ in range(6):
            own = level + rng.normal(0, 0.4, 20)[labels] + rng.normal(0, 1, len(labels))
            hits.append(rng.random(len(labels)) < 1 / (1 + np.exp(-own)))
        differences = 100.0 * np.array(hits[:3]) - 100.0 * np.array(hits[3:])
        gains = class_gains(differences, labels, 20)
        found += any(one.differs for one in gains)
        small += [one.p_value < 0.05 for one in gains if one.p_value is not None]
    assert found / campaigns <= 0.1
    assert 0.005 <= np.mean(small) <= 0.05
