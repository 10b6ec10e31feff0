"""Class names: choose some by number or by name, and find one class in two spellings."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from pcsearch.data.dataset import Int64Array
from pcsearch.errors import UserError, did_you_mean
from pcsearch.printable import encodable

_Key = TypeVar("_Key", int, str)
_NUMBER_PREFIX = re.compile(r"^\d+[._ -]+(?=\D)")
_WHOLE_NUMBER = re.compile(r"\d+(\.0*)?", re.ASCII)
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
EMPTY_LABELS = frozenset({"nan", "nat", "<na>", "#n/a"})
"""How spreadsheets and pandas write an empty cell, in lower case."""
_PERHAPS_EMPTY = EMPTY_LABELS | {"na", "n/a", "null", "none", "-", "?"}
_NAMED_AT_MOST = 5


def choose_classes(
    names: Sequence[str],
    chosen: Sequence[int | str] | None,
    numbers: Sequence[int] | None = None,
) -> list[int]:
    """The positions in `names` of the chosen classes, in the dataset's order.

    Args:
        names: all class names.
        chosen: numbers or names, None for all. A name may omit a leading number ("Crested Auklet"
            for "007.Crested_Auklet"). Case, spaces and hyphens do not matter.
        numbers: the dataset's own class numbers. By default the names, if all are decimal ("1" to
            "12", "007"), else 1, 2, ...

    Raises:
        UserError: an unknown, ambiguous or repeated class, or fewer than two classes.
    """
    if chosen is None:
        return list(range(len(names)))
    names = [encodable(name) for name in names]
    by_number = _positions(_own_numbers(names) if numbers is None else numbers)
    by_name = name_finder(names)
    positions: list[int] = []
    for choice in chosen:
        position = _find(choice, by_number, by_name, names)
        if position in positions:
            raise UserError(f"data.classes: {names[position]!r} is chosen twice; keep one.")
        positions.append(position)
    if len(positions) < 2:
        raise UserError(f"data.classes: choose at least two classes, not {len(positions)}.")
    return sorted(positions)


def name_finder(names: Sequence[str]) -> Callable[[str], list[int]]:
    """A function from a name to the positions of the classes that it may mean, exact ones first.

    It may omit a leading number ("Crested Auklet" for "007.Crested_Auklet"). Case, spaces and
    hyphens do not matter.
    """
    by_name = (
        _positions(map(encodable, names)),
        _positions(_plain(name) for name in names),
        _positions(_plain(_NUMBER_PREFIX.sub("", name)) for name in names),
    )

    def find(name: str) -> list[int]:
        exact, plain = encodable(name), _plain(encodable(name))
        found = (table.get(key) for table, key in zip(by_name, (exact, plain, plain), strict=True))
        return next((positions for positions in found if positions), [])

    return find


def same_class(name: str, known: Sequence[str]) -> int | None:
    """The position in `known` of the class that a name means; None if there is none, or several.

    See `name_finder`. A leading number of the name itself does not matter either.
    """
    find = name_finder(known)
    found = find(name) or find(_NUMBER_PREFIX.sub("", name))
    return found[0] if len(found) == 1 else None


def rows_of(labels: Int64Array, positions: Sequence[int]) -> tuple[Int64Array, Int64Array]:
    """The rows whose label is among `positions`, and their labels renumbered from 0."""
    renumbered = np.full(max([*positions, *labels.tolist()], default=0) + 1, -1, dtype=np.int64)
    renumbered[list(positions)] = np.arange(len(positions))
    rows = np.flatnonzero(renumbered[labels] >= 0).astype(np.int64)
    return rows, renumbered[labels[rows]]


def one_spelling(names: Iterable[str]) -> dict[str, str]:
    """Each name → the first of `names` that is the same text in another Unicode form.

    Macs may write an accent as a character of its own (NFD), other systems rarely do (NFC). People
    cannot see the difference.
    """
    first: dict[str, str] = {}
    return {name: first.setdefault(unicodedata.normalize("NFC", name), name) for name in names}


def refuse_alike(images_of: Mapping[str, int], where: str) -> None:
    """Refuse classes that are most likely one class in two spellings.

    Their names differ only in case, in spaces at their ends or no-break spaces, in characters that
    nobody sees, or as `0` and `0.0` do. Single letters may differ in case.

    Args:
        images_of: class name → its number of images.
        where: name of their place in messages.

    Raises:
        UserError: there are such classes. The text names them.
    """
    spellings: dict[str, list[str]] = {}
    for name in images_of:
        spellings.setdefault(look_of(name), []).append(name)
    doubtful = [names for names in spellings.values() if len(names) > 1]
    if doubtful:
        named = [
            " and ".join(f"{name!r} ({_images(images_of[name])})" for name in names)
            for names in doubtful[:_NAMED_AT_MOST]
        ]
        more = f"; and {len(doubtful) - len(named)} more" if len(doubtful) > len(named) else ""
        raise UserError(
            f"{where} has classes that look like one class in several spellings: "
            f"{'; '.join(named)}{more}. Write each class in one way. If they are different "
            "classes, give them names that differ in more than case, spaces or the form of a "
            "number."
        )


def look_of(name: str) -> str:
    """What remains of a name without case, spaces at its ends and what nobody sees."""
    plain = " ".join(_INVISIBLE.sub("", unicodedata.normalize("NFKC", name)).split())
    if _WHOLE_NUMBER.fullmatch(plain):
        return plain.partition(".")[0].lstrip("0") or "0"
    return plain if len(plain) == 1 else plain.casefold()


def empty_label_notes(names: Iterable[str]) -> list[str]:
    """A sentence for each class name that may stand for an empty label."""
    return [
        f"the class {name!r} may stand for an empty label; leave it out with data.classes if so."
        for name in names
        if name.strip().casefold() in _PERHAPS_EMPTY
    ]


def _images(number: int) -> str:
    return f"{number:,} image{'' if number == 1 else 's'}"


def _find(
    choice: int | str,
    by_number: dict[int, list[int]],
    by_name: Callable[[str], list[int]],
    names: Sequence[str],
) -> int:
    if isinstance(choice, str):
        choice = encodable(choice)
        if named := by_name(choice):
            return _only(choice, named, names)
        if not choice.strip().isdecimal():
            short = [_plain(_NUMBER_PREFIX.sub("", name)) for name in names]
            hint = did_you_mean(_plain(choice), [*map(_plain, names), *short])
            raise UserError(
                f"data.classes: no class is called {choice!r}{hint or '.'} "
                f"There are {len(names)} classes, {names[0]!r} to {names[-1]!r}."
            )
    if found := by_number.get(int(choice)):
        return _only(choice, found, names)
    numbers = sorted(by_number)
    raise UserError(
        f"data.classes: no class has the number {choice}; "
        f"the numbers are {numbers[0]} to {numbers[-1]}."
    )


def _only(choice: int | str, positions: Sequence[int], names: Sequence[str]) -> int:
    if len(positions) > 1:
        meant = " or ".join(repr(names[position]) for position in positions[:5])
        raise UserError(f"data.classes: {choice!r} could mean {meant}; give the whole name.")
    return positions[0]


def _own_numbers(names: Sequence[str]) -> list[int]:
    if all(name.isdecimal() for name in names):
        return [int(name) for name in names]
    return list(range(1, len(names) + 1))


def _positions(keys: Iterable[_Key]) -> dict[_Key, list[int]]:
    positions: dict[_Key, list[int]] = {}
    for position, key in enumerate(keys):
        positions.setdefault(key, []).append(position)
    return positions


def _plain(name: str) -> str:
    plain = unicodedata.normalize("NFC", name).strip().casefold()
    return re.sub(r"[\s_-]+", "_", plain)
