"""The rungs and the rule, against hand-worked tables and a naive reading of the rule."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcsearch.search.asha import Ladder, rungs


@pytest.mark.parametrize(
    ("max_epochs", "grace", "factor", "expected"),
    [
        (9, 1, 3, (1, 3)),  # 9 itself is no rung: who gets there is done
        (10, 1, 3, (1, 3, 9)),
        (30, 2, 4, (2, 8)),
        (1, 1, 2, ()),
        (4, 4, 2, ()),
    ],
)
def test_rungs_lie_below_the_full_budget(
    max_epochs: int, grace: int, factor: int, expected: tuple[int, ...]
) -> None:
    assert rungs(max_epochs, grace, factor) == expected


def test_a_hand_worked_rung() -> None:
    """η = 3. k: allowed = max(1, ⌊k/3⌋); a trial continues iff fewer than that are larger."""
    ladder = Ladder(9, 1, 3)
    arrivals = [
        (50, True),  # k=1: none larger
        (40, False),  # k=2: one larger, one allowed → not fewer
        (60, True),  # k=3: the best
        (60, True),  # k=4: equal is not strictly larger
        (55, False),  # k=5: 60, 60 larger, one allowed
        (58, False),  # k=6: two allowed, two larger
        (59, False),  # k=7: 60, 60
        (61, True),  # k=8: the best
        (60, True),  # k=9: three allowed; only 61 is larger
    ]
    for number, (value, continues) in enumerate(arrivals):
        assert ladder.record(f"trial-{number}", 1, value) is continues, number
    assert ladder.values(1) == (40, 50, 55, 58, 59, 60, 60, 60, 61)
    assert ladder.values(3) == ()


values = st.lists(st.integers(0, 20).map(float), max_size=40)


@given(values, st.integers(2, 5))
def test_the_rule_recomputed_naively(arrivals: list[float], factor: int) -> None:
    ladder = Ladder(100, 1, factor)
    for number, value in enumerate(arrivals):
        so_far = arrivals[: number + 1]
        larger = sum(other > value for other in so_far)
        allowed = max(1, math.floor(len(so_far) / factor))
        assert ladder.would_continue(1, value) is (larger < allowed)
        assert ladder.record(str(number), 1, value) is (larger < allowed)


@given(values.filter(bool))
def test_the_best_at_a_rung_always_continues(arrivals: list[float]) -> None:
    ladder = Ladder(9, 1, 3)
    decisions = [ladder.record(str(n), 1, value) for n, value in enumerate(arrivals)]
    best_first = arrivals.index(max(arrivals))
    assert decisions[best_first]


def test_records_are_idempotent_and_other_epochs_are_no_rung() -> None:
    ladder = Ladder(9, 1, 3)
    ladder.record("a", 1, 50.0)
    assert ladder.record("b", 1, 40.0) is False
    assert ladder.record("a", 1, 0.0) is True
    assert ladder.record("b", 1, 99.0) is False
    assert ladder.values(1) == (40.0, 50.0)
    assert ladder.record("b", 2, 1.0) is True
