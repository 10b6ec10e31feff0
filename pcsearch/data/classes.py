"""Choose some of a dataset's classes by number or by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np

from pcsearch.data.dataset import Int64Array
from pcsearch.errors import UserError, did_you_mean
from pcsearch.printable import encodable

_Key = TypeVar("_Key", int, str)
_NUMBER_PREFIX = re.compile(r"^\d+[._ -]+(?=\D)")


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
    by_name = (
        _positions(names),
        _positions(_plain(name) for name in names),
        _positions(_plain(_NUMBER_PREFIX.sub("", name)) for name in names),
    )
    positions: list[int] = []
    for choice in chosen:
        position = _find(choice, by_number, by_name, names)
        if position in positions:
            raise UserError(f"data.classes: {names[position]!r} is chosen twice; keep one.")
        positions.append(position)
    if len(positions) < 2:
        raise UserError(f"data.classes: choose at least two classes, not {len(positions)}.")
    return sorted(positions)


def rows_of(labels: Int64Array, positions: Sequence[int]) -> tuple[Int64Array, Int64Array]:
    """The rows whose label is among `positions`, and their labels renumbered from 0."""
    renumbered = np.full(max([*positions, *labels.tolist()], default=0) + 1, -1, dtype=np.int64)
    renumbered[list(positions)] = np.arange(len(positions))
    rows = np.flatnonzero(renumbered[labels] >= 0).astype(np.int64)
    return rows, renumbered[labels[rows]]


def _find(
    choice: int | str,
    by_number: dict[int, list[int]],
    by_name: Sequence[dict[str, list[int]]],
    names: Sequence[str],
) -> int:
    if isinstance(choice, str):
        choice = encodable(choice)
        exact, whole, short = by_name
        for found in (exact.get(choice), whole.get(_plain(choice)), short.get(_plain(choice))):
            if found:
                return _only(choice, found, names)
        if not choice.strip().isdecimal():
            hint = did_you_mean(_plain(choice), [*whole, *short])
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
    return re.sub(r"[\s_-]+", "_", name.strip().casefold())
