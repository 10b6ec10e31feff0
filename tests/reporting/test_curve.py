"""Curves in a terminal: to scale, within the width, in ASCII where that is all there is."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console

from pcsearch.reporting.curve import Curve


def drawn(curve: Curve, width: int = 80, encoding: str = "utf-8") -> list[str]:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=width, color_system=None)
    console.print(curve)
    file.seek(0)
    return [line.rstrip() for line in file.read().splitlines()]


def test_a_curve_by_hand() -> None:
    """From 10 to 90 in 8 rows: 50 fills half of them, and the least value an eighth of one."""
    lines = drawn(Curve([10.0, 50.0, 90.0], {2}, "rung"), width=16)
    assert lines == [
        "90.0 │      █",
        "     │      █",
        "     │      █",
        "     │      █",
        "     │   █  █",
        "     │   █  █",
        "     │   █  █",
        "10.0 │▁  █  █",
        "     └───^─────",
        "      1     3",
        "epochs   ^ rung",
    ]


def test_a_curve_in_ascii() -> None:
    lines = drawn(Curve([10.0, 50.0, 90.0], {2}, "rung"), encoding="ascii")
    assert "".join(lines).isascii()
    assert lines[0] == "90.0 |            #"
    assert lines[4].split("|")[1] == "      #     #"
    assert lines[7] == "10.0 |#     #     #"
    assert lines[8].startswith("     +------^---")
    assert lines[9] == "      1           3 epochs   ^ rung"


@pytest.mark.parametrize("count", [1, 2, 7, 60, 61, 72, 100, 500])
@pytest.mark.parametrize("width", [30, 80, 100])
def test_any_number_of_epochs_fits(count: int, width: int) -> None:
    lines = drawn(Curve([50 + 40 * math.sin(n) for n in range(count)], {1, 3, 9}, "rung"), width)
    assert max(map(len, lines)) <= width
    assert any("epochs" in line for line in lines)
    assert any(str(count) in line for line in lines[9:])


def test_values_that_are_missing_or_no_numbers_leave_a_gap() -> None:
    lines = drawn(Curve([None, 5.0, math.nan, 5.0]))
    assert lines[0] == "5 │      █           █"
    assert drawn(Curve([None, math.nan])) == ["no values yet"]
    assert drawn(Curve([])) == ["no values yet"]
