from __future__ import annotations

import numpy as np
import pytest

from pcsearch.data.classes import (
    choose_classes,
    empty_label_notes,
    one_spelling,
    refuse_alike,
    rows_of,
)
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


MOEWE_NFC, MOEWE_NFD = "m\u00f6we", "mo\u0308we"


def test_unicode_forms_are_one_name_spelled_as_the_first() -> None:
    assert one_spelling([MOEWE_NFD, "tern", MOEWE_NFC]) == {
        MOEWE_NFD: MOEWE_NFD,
        "tern": "tern",
        MOEWE_NFC: MOEWE_NFD,
    }
    assert choose_classes([MOEWE_NFD, "tern", "auk"], [MOEWE_NFC, "auk"]) == [0, 2]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ant", "ant"),
        ("ant", "ant "),
        ("red ant", "red\u00a0ant"),
        ("red ant", "red  ant"),
        ("ant", "\ufeffant"),
        ("ant", "an\u200bt"),
        ("0", "0.0"),
        ("7", "07"),
        ("10", "10."),
        ("ａｎｔ", "ant"),
    ],
)
def test_one_class_in_two_spellings_is_refused(one: str, other: str) -> None:
    with pytest.raises(UserError) as refused:
        refuse_alike({one: 1, "bee": 5, other: 1200}, "birds.csv")
    assert f"birds.csv has classes that look like one class in several spellings: {one!r} " in (
        str(refused.value)
    )
    assert f"{one!r} (1 image) and {other!r} (1,200 images). Write each" in str(refused.value)


@pytest.mark.parametrize(
    "names", [("a", "A", "b"), ("0", "1", "10", "100"), ("1.5", "1"), ("ant", "ants"), ("0.1", "0")]
)
def test_other_classes_are_not(names: tuple[str, ...]) -> None:
    refuse_alike(dict.fromkeys(names, 3), "birds.csv")


def test_classes_that_may_be_empty_labels_are_told() -> None:
    assert [note.split("'")[1] for note in empty_label_notes(["ant", "None", "N/A", "bee"])] == [
        "None",
        "N/A",
    ]
