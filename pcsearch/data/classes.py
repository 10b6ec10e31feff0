"""Choosing some of a dataset's classes by number or by name."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from pcsearch.data.dataset import Int64Array
from pcsearch.errors import UserError, did_you_mean

_NUMBER_PREFIX = re.compile(r"^\d+[._ -]+(?=\D)")


def choose_classes(
    names: Sequence[str],
    chosen: Sequence[int | str] | None,
    numbers: Sequence[int] | None = None,
) -> list[int]:
    """The positions in `names` of the chosen classes, in the dataset's order.

    Args:
        names: all class names.
        chosen: numbers or names, None for all. A name may leave out a leading number
            ("Crested Auklet" for "007.Crested_Auklet"); case, spaces and hyphens do not matter.
        numbers: the dataset's own class numbers; 1, 2, ... if not given.

    Raises UserError for an unknown or repeated class and for fewer than two classes.
    """
    if chosen is None:
        return list(range(len(names)))
    own_numbers = list(numbers) if numbers is not None else list(range(1, len(names) + 1))
    by_number = {number: position for position, number in enumerate(own_numbers)}
    by_name = {_plain(_NUMBER_PREFIX.sub("", name)): i for i, name in enumerate(names)}
    by_name |= {_plain(name): i for i, name in enumerate(names)}
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
    choice: int | str, by_number: dict[int, int], by_name: dict[str, int], names: Sequence[str]
) -> int:
    if isinstance(choice, str):
        if (position := by_name.get(_plain(choice))) is not None:
            return position
        if not choice.strip().isdecimal():
            hint = did_you_mean(_plain(choice), by_name)
            raise UserError(
                f"data.classes: no class is called {choice!r}{hint or '.'} "
                f"There are {len(names)} classes, {names[0]!r} to {names[-1]!r}."
            )
    if (position := by_number.get(int(choice))) is not None:
        return position
    numbers = sorted(by_number)
    raise UserError(
        f"data.classes: no class has the number {choice}; "
        f"the numbers are {numbers[0]} to {numbers[-1]}."
    )


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", name.strip().casefold())
