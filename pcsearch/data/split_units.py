"""Setting whole units of images aside: a unit is what must stay on one side of a split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pcsearch.data.dataset import Int64Array


def units_of(m: int, groups: Int64Array | None, twins: Int64Array | None) -> Int64Array:
    """[m] the unit of each image, the smallest row in it: groups, and twins that link them.

    A negative twin number stands for no twins.
    """
    units = np.arange(m, dtype=np.int64)
    links = [
        numbers if place == 0 else np.where(numbers < 0, m + np.arange(m) + numbers.max(), numbers)
        for place, numbers in enumerate((groups, twins))
        if numbers is not None and m
    ]
    linked = [np.unique(numbers, return_inverse=True)[1].reshape(-1) for numbers in links]
    while True:
        before = units
        for numbers in linked:
            least = np.full(int(numbers.max()) + 1, m, dtype=np.int64)
            np.minimum.at(least, numbers, units)
            units = least[numbers]
        if np.array_equal(units, before):
            return units


def set_units_aside(
    labels: Int64Array,
    units: Int64Array,
    orders: Sequence[Int64Array],
    wanted: Sequence[int],
    keep: int,
) -> tuple[npt.NDArray[np.bool_], int | None]:
    """A mask [m] of images set aside, and a class for which it could not be done, or None.

    Units are taken in the order of each class's images for as long as that brings the classes
    nearer to the wanted numbers. At least one unit of a class is taken, at least `keep` remain.
    With units of one image these are the first wanted[c] images of orders[c].

    Args:
        labels: [m] classes.
        units: [m], see `units_of`.
        orders: of each class, its images in the order in which they are considered.
        wanted: of each class, how many images to set aside.
        keep: units of a class that must not be set aside.
    """
    members = _members(units)
    shares = {unit: np.unique(labels[rows], return_counts=True) for unit, rows in members.items()}
    taken = np.zeros(len(orders), dtype=np.int64)
    left = np.array([len(np.unique(units[rows])) for rows in orders], dtype=np.int64)
    goal = np.asarray(wanted, dtype=np.int64)
    aside = np.zeros(len(labels), dtype=bool)

    def cost(row: int) -> int:
        """How much farther from the goals the row's unit leads; negative is nearer."""
        classes, counts = _share(row, labels, units, shares)
        short = goal[classes] - taken[classes]
        return int((np.abs(short - counts) - np.abs(short)).sum())

    def take(row: int) -> bool:
        classes, counts = _share(row, labels, units, shares)
        if (left[classes] <= keep).any():
            return False
        taken[classes] += counts
        left[classes] -= 1
        aside[members.get(int(units[row]), row)] = True
        return True

    for label, order in enumerate(orders):
        for row in order.tolist():
            if taken[label] >= goal[label]:
                break
            if not aside[row] and cost(row) < 0:
                take(row)
    for label in np.flatnonzero(taken == 0).tolist():
        rows = [row for row in orders[label].tolist() if not aside[row]]
        if not any(take(row) for row in sorted(rows, key=cost)):
            return aside, label
    return aside, None


def _members(units: Int64Array) -> dict[int, Int64Array]:
    """Rows of the units that have several."""
    order = np.argsort(units, kind="stable")
    numbers, starts = np.unique(units[order], return_index=True)
    parts = np.split(order, starts[1:])
    return {int(u): rows for u, rows in zip(numbers, parts, strict=True) if len(rows) > 1}


def _share(
    row: int,
    labels: Int64Array,
    units: Int64Array,
    shares: dict[int, tuple[Int64Array, Int64Array]],
) -> tuple[Int64Array, Int64Array]:
    """The classes of the row's unit and how many images it has of each."""
    alone = (labels[row : row + 1], np.ones(1, dtype=np.int64))
    return shares.get(int(units[row]), alone)
