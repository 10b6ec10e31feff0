from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcsearch.cli.views.text import (
    age,
    bar,
    count,
    short_duration,
    short_percent,
    short_regulariser,
    sparkline,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (7.4, "0:07"), (59.6, "1:00"), (754, "12:34"), (3723, "1:02:03"), (-1, "0:00")],
)
def test_duration(seconds: float, text: str) -> None:
    assert short_duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(12, "12 s"), (300, "5 min"), (3 * 3600 + 5, "3 h"), (9 * 86400, "9 d")]
)
def test_age(seconds: float, text: str) -> None:
    assert age(seconds) == text


def test_count() -> None:
    assert [count(1, "trial"), count(2, "study"), count(1234, "epoch")] == [
        "1 trial",
        "2 studies",
        "1,234 epochs",
    ]


def test_strength_names_what_the_arm_tunes() -> None:
    assert short_regulariser({"lambda": 1.6, "lambda_over_n": 0.0812}) == "λ/N 0.0812"
    assert (
        short_regulariser({"lambda": 0.0, "lambda_over_n": 0.0, "label_smoothing": 0.1})
        == "smoothing 0.1"
    )
    assert short_regulariser({"lambda": 0.0, "lambda_over_n": 0.0, "lr": 0.1}) == ""


def test_percent() -> None:
    assert short_percent(93.449) == "93.4"
    assert short_percent(None) == "–"


def test_sparkline() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([], 8) == ""
    assert sparkline([3.0, 3.0], 8) == "▅▅"
    assert sparkline(range(100), 4) == "▁▃▆█"


@given(
    values=st.lists(st.floats(0, 100), min_size=1, max_size=60),
    width=st.integers(1, 20),
)
def test_sparkline_fits(values: list[float], width: int) -> None:
    assert 1 <= len(sparkline(values, width)) <= width


@given(fraction=st.floats(0, 1), width=st.integers(1, 80))
def test_bar_is_full_only_at_the_end(fraction: float, width: int) -> None:
    text = bar(fraction, width).plain
    assert len(text) == width
    assert ("─" not in text) == (fraction >= 1 - 1e-9)
