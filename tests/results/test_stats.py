"""The paired gain against a hand calculation and against scipy's own paired t-test."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from pcsearch.results.stats import Gain, mean_std, paired_gain

ACCURACY = st.integers(0, 10_000).map(lambda hundredths: hundredths / 100)


def test_mean_and_sample_standard_deviation() -> None:
    mean, std = mean_std([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0])
    assert mean == 5.0
    assert std == pytest.approx(math.sqrt(32 / 7))  # squares sum to 32 over n − 1 = 7
    assert mean_std([3.5]) == (3.5, None)


def test_a_gain_computed_by_hand() -> None:
    """Differences 1, 3, 2: mean 2, s 1, t = 2·√3; with 2 degrees of freedom all is closed form."""
    gain = paired_gain({7: 82.0, 8: 84.0, 9: 83.0}, {7: 81.0, 8: 81.0, 9: 81.0})
    assert gain is not None
    assert gain.mean == pytest.approx(2.0)
    reach = 4.302652729911275 / math.sqrt(3)  # t(0.975, 2)
    assert gain.low == pytest.approx(2 - reach)
    assert gain.high == pytest.approx(2 + reach)
    t = 2 * math.sqrt(3)
    assert gain.p_value == pytest.approx(1 - t / math.sqrt(2 + t**2))
    assert gain.includes_zero is True


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(ACCURACY, ACCURACY), min_size=2, max_size=12))
def test_agrees_with_scipys_paired_test(pairs: list[tuple[float, float]]) -> None:
    treated, control = ({seed: p[i] for seed, p in enumerate(pairs)} for i in (0, 1))
    differences = [t - c for t, c in pairs]
    gain = paired_gain(treated, control)
    assert gain is not None
    if max(differences) - min(differences) < 1e-9:
        return  # scipy has no answer there; see the test of equal differences
    reference = scipy_stats.ttest_rel(list(treated.values()), list(control.values()))
    bounds = reference.confidence_interval(0.95)
    assert gain.mean == pytest.approx(sum(differences) / len(differences), abs=1e-9)
    assert gain.low == pytest.approx(bounds.low, rel=1e-7, abs=1e-7)
    assert gain.high == pytest.approx(bounds.high, rel=1e-7, abs=1e-7)
    assert gain.p_value == pytest.approx(reference.pvalue, rel=1e-6, abs=1e-12)


@given(st.lists(st.tuples(ACCURACY, ACCURACY), min_size=2, max_size=6))
def test_swapping_the_arms_turns_the_gain_around(pairs: list[tuple[float, float]]) -> None:
    left, right = ({seed: p[i] for seed, p in enumerate(pairs)} for i in (0, 1))
    there, back = paired_gain(left, right), paired_gain(right, left)
    assert there is not None
    assert back is not None
    assert back.mean == pytest.approx(-there.mean)
    assert (back.low is None) == (there.low is None)
    if there.low is None:
        return
    assert back.p_value == pytest.approx(there.p_value)
    assert (back.low, back.high) == pytest.approx((-float(there.high or 0), -float(there.low or 0)))


def test_only_common_seeds_count_whatever_their_order() -> None:
    control = {3: 70.0, 1: 71.0, 2: 72.0}
    gain = paired_gain({1: 72.0, 2: 74.0, 9: 0.0}, control)
    assert gain == paired_gain({2: 74.0, 1: 72.0}, control)
    assert gain is not None
    assert gain.mean == pytest.approx(1.5)


def test_too_few_common_seeds() -> None:
    assert paired_gain({1: 80.0}, {2: 79.0}) is None
    assert paired_gain({}, {}) is None
    one = paired_gain({1: 80.0, 2: 81.0}, {1: 79.0, 3: 79.0})
    assert one == Gain(1.0, None, None, None)
    assert one.includes_zero is None


@pytest.mark.parametrize("difference", [1.5, -1.5, 0.0])
def test_equal_differences_give_no_interval(difference: float) -> None:
    control = {seed: 80.0 + seed for seed in range(4)}
    treated = {seed: value + difference for seed, value in control.items()}
    assert paired_gain(treated, control) == Gain(difference, None, None, None)


def test_differences_that_are_equal_but_for_rounding_give_no_interval_either() -> None:
    """One image of 359 more in each of two trainings: the differences differ in the last bit."""
    control = {1: 100 * 331 / 359, 2: 100 * 337 / 359}
    treated = {1: 100 * 332 / 359, 2: 100 * 338 / 359}
    assert treated[1] - control[1] != treated[2] - control[2]
    gain = paired_gain(treated, control)
    assert gain is not None
    assert (gain.low, gain.high, gain.p_value) == (None, None, None)


def test_reading_results_starts_nothing_heavy() -> None:
    code = (
        "import sys; import pcsearch.results.summary, pcsearch.results.tables;"
        "print([m for m in ('torch', 'ray', 'optuna', 'scipy') if m in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert printed.decode().strip() == "[]"
