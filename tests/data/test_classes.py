from __future__ import annotations

import numpy as np
import pytest

from pcsearch.data.classes import choose_classes, rows_of
from pcsearch.errors import UserError

BIRDS = ["001.Black_footed_Albatross", "005.Crested_Auklet", "026.Bronzed_Cowbird"]
NUMBERS = [1, 5, 26]


@pytest.mark.parametrize(
    ("chosen", "positions"),
    [
        (None, [0, 1, 2]),
        ((26, 1), [0, 2]),
        (("005.Crested_Auklet", 26), [1, 2]),
        (("crested auklet", "BLACK-FOOTED ALBATROSS"), [0, 1]),
        (("005", "26"), [1, 2]),
    ],
)
def test_by_number_and_name(chosen: tuple[int | str, ...] | None, positions: list[int]) -> None:
    assert choose_classes(BIRDS, chosen, NUMBERS) == positions


def test_without_own_numbers_they_count_from_1() -> None:
    assert choose_classes(["cat", "dog", "eel"], (1, 3)) == [0, 2]


def test_names_that_are_digits_win_over_numbers() -> None:
    assert choose_classes([str(i) for i in range(10)], ("3", 5), range(10)) == [3, 5]
    assert choose_classes(["10", "20", "30"], ("20", "30")) == [1, 2]


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (("Crested Auklett", 1), r'did you mean "crested_auklet"'),
        ((1, 2), "no class has the number 2; the numbers are 1 to 26"),
        ((1, "1"), "chosen twice"),
        ((5,), "at least two classes, not 1"),
        ((), "at least two classes, not 0"),
    ],
)
def test_mistakes(chosen: tuple[int | str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        choose_classes(BIRDS, chosen, NUMBERS)


def test_rows_are_renumbered() -> None:
    rows, labels = rows_of(np.array([4, 2, 0, 4, 1], dtype=np.int64), [1, 4])
    assert rows.tolist() == [0, 3, 4]
    assert labels.tolist() == [1, 1, 0]
