"""Intervals and exact tests against numbers computed by hand and by scipy."""

from __future__ import annotations

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from pcsearch.reporting.proportions import paired_difference, share


def test_wilson_by_hand() -> None:
    # 12 of 24: centre 0.5, half-width 1.96 / (1 + 3.8415 / 24) · √(0.25 / 24 + 3.8415 / 2304)
    one = share(12, 24)
    assert one.percent == 50
    assert one.low == pytest.approx(31.43, abs=0.005)
    assert one.high == pytest.approx(68.57, abs=0.005)
    assert one.text() == "50.0 % [31.4, 68.6]"
    assert share(0, 5).low == 0
    assert share(5, 5).high == 100


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_that_of_scipy(counts: tuple[int, int]) -> None:
    hits, images = counts
    ends = binomtest(hits, images).proportion_ci(0.95, method="wilson")
    one = share(hits, images)
    assert (one.low, one.high) == pytest.approx((100 * ends.low, 100 * ends.high), abs=1e-9)


def test_mcnemar_by_hand() -> None:
    # of 10 images that tell them apart, the first is right on 8: 2 · (45 + 10 + 1) / 1024
    one = paired_difference(8, 2, 40)
    assert one.p_value == pytest.approx(2 * sum(comb(10, k) for k in (0, 1, 2)) / 2**10)
    assert one.points == pytest.approx(15)
    # (9 − 3) / 42 ± 1.96 · √((12 / 42 − (6 / 42)²) / 42)
    assert (one.low, one.high) == pytest.approx((-1.29, 29.86), abs=0.01)


def test_networks_that_agree_everywhere_do_not_differ() -> None:
    one = paired_difference(0, 0, 30)
    assert (one.points, one.p_value) == (0, 1)
    assert one.low < 0 < one.high


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 50))
def test_the_order_of_the_networks_changes_signs_alone(b: int, c: int, same: int) -> None:
    one, other = paired_difference(b, c, b + c + same), paired_difference(c, b, b + c + same)
    assert (one.points, one.low, one.high) == pytest.approx(
        (-other.points, -other.high, -other.low)
    )
    assert one.p_value == pytest.approx(other.p_value)
