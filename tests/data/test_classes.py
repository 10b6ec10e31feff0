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


def test_decimal_names_are_the_numbers() -> None:
    folders = sorted(str(month) for month in range(1, 13))
    assert folders[:3] == ["1", "10", "11"]
    for chosen in ((1, 2, 3), ("1", "2", "3")):
        positions = choose_classes(folders, chosen)
        assert {folders[position] for position in positions} == {"1", "2", "3"}
    assert choose_classes(["007", "010", "100"], (10, "7")) == [0, 1]
    with pytest.raises(UserError, match="no class has the number 13; the numbers are 1 to 12"):
        choose_classes(folders, (1, 13))


def test_ambiguous_classes_are_refused() -> None:
    twins = ["001.Foo", "002.Foo", "003.Bar"]
    message = r"'foo' could mean '001.Foo' or '002.Foo'; give the whole name"
    with pytest.raises(UserError, match=message):
        choose_classes(twins, ("foo", "Bar"))
    assert choose_classes(twins, ("001.foo", "Bar")) == [0, 2]
    with pytest.raises(UserError, match="1 could mean '01' or '1'"):
        choose_classes(["01", "1", "2"], (1, 2))
    assert choose_classes(["01", "1", "2"], ("1", 2)) == [1, 2]
    assert choose_classes(["Foo", "foo", "bar"], ("foo", "bar")) == [1, 2]
    with pytest.raises(UserError, match="could mean"):
        choose_classes(["Foo", "foo", "bar"], ("FOO", "bar"))


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
