"""Names of classes in a second set."""

from __future__ import annotations

import pytest

from pcsearch.data.labelled_set import match_classes

KNOWN = ("001.Crested_Auklet", "002.Least_Auklet", "gull", "Gull ", "Ha\u0308her", "7", "wren's")


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("001.Crested_Auklet", 0), ("crested auklet", 0), ("Least-Auklet", 1), ("gull", 2),
        ("H\u00e4her", 4), ("h\u00c4her", 4), ("7", 5), ("012.wren's", 6),
        ("GULL", None),  # could mean two classes
        ("auklet", None), ("", None),
    ],
)  # fmt: skip
def test_a_name_means_the_class_of_that_look(name: str, number: int | None) -> None:
    matched = match_classes([name], KNOWN)
    assert matched.number == ({} if number is None else {name: number})
    assert list(matched.unknown) == ([name] if number is None else [])


def test_unknown_names_come_with_near_spellings() -> None:
    matched = match_classes(["wrens", "x"], KNOWN)
    assert matched.unknown == {"wrens": ', did you mean "wren\'s"?', "x": ""}
