"""The cells of a manifest as labels, splits, groups and boxes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pcsearch.data.dataset import Float32Array, Int64Array
from pcsearch.data.readers.folder_layout import PART_NAMES
from pcsearch.data.readers.manifest_table import BOX_COLUMNS, ManifestTable
from pcsearch.errors import UserError, did_you_mean

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class ManifestRows:
    """The table as numbers, one for each of its n rows.

    Attributes:
        names: all class names, in their order.
        labels: [n] positions in `names`.
        splits: [n] positions in PART_NAMES, 0 (train) where there is no such column.
        groups: [n] numbers of the stated groups, or None.
        boxes: [n, 4], or None.
    """

    names: list[str]
    labels: Int64Array
    splits: Int64Array
    groups: Int64Array | None
    boxes: Float32Array | None

    @staticmethod
    def of(table: ManifestTable) -> ManifestRows:
        """Raises UserError, with the line, where a cell makes no sense."""
        names = _class_names(table)
        position = {name: number for number, name in enumerate(names)}
        labels = np.array([position[name] for name in table.columns["label"]], dtype=np.int64)
        return ManifestRows(names, labels, _splits(table), _groups(table), _boxes(table))


_LONGEST_NUMBER = 18
"""Digits; what is longer is a name that happens to have digits only."""


def _class_names(table: ManifestTable) -> list[str]:
    labels = table.columns["label"]
    names = sorted(set(labels))
    if len(names) < 2:
        raise UserError(
            f"{table.file} has one class only, {names[0]}; at least two are needed. Is the "
            "column label the right one?"
        )
    if not all(name.isdecimal() and len(name) <= _LONGEST_NUMBER for name in names):
        return names
    names.sort(key=int)
    for one, other in pairwise(names):
        if int(one) == int(other):
            first, second = sorted([labels.index(one), labels.index(other)])
            raise UserError(
                f"{table.where(second)} has the label {labels[second]}, but {table.unit} "
                f"{table.lines[first]} {labels[first]}: write a number always in the same way."
            )
    return names


def _splits(table: ManifestTable) -> Int64Array:
    cells = table.columns.get("split")
    if cells is None:
        return np.zeros(len(table.lines), dtype=np.int64)
    meant = {word: number for number, words in enumerate(PART_NAMES.values()) for word in words}
    splits = [meant.get(cell.lower(), -1) for cell in cells]
    if -1 in splits:
        row = splits.index(-1)
        found = cells[row]
        problem = (
            f"the split {found!r} is unknown{did_you_mean(found, meant).rstrip('?')}"
            if found
            else "the split is empty"
        )
        raise UserError(
            f"{table.where(row)}: {problem}. Write train, val or test in every row, or leave out "
            "the column."
        )
    return np.array(splits, dtype=np.int64)


def _groups(table: ManifestTable) -> Int64Array | None:
    cells = table.columns.get("group")
    if cells is None:
        return None
    number: dict[str | int, int] = {}
    groups = [number.setdefault(cell or row, len(number)) for row, cell in enumerate(cells)]
    return np.array(groups, dtype=np.int64)


def _boxes(table: ManifestTable) -> Float32Array | None:
    if BOX_COLUMNS[0] not in table.columns:
        return None
    columns = [table.columns[name] for name in BOX_COLUMNS]
    boxes = np.array([_numbers(cells) for cells in columns], dtype=np.float32).T.copy()
    usable = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)
    if not usable.all():
        row = int(np.argmin(usable))
        found = ", ".join(cells[row] or "empty" for cells in columns)
        raise UserError(
            f"{table.where(row)}: x, y, w, h are {found}. Every row needs four numbers, w and h "
            "above 0 (pixels); or leave out the columns."
        )
    return boxes


def _numbers(cells: Sequence[str]) -> list[float]:
    """The cells as numbers, not a number where a cell is none."""
    try:
        return [float(cell) for cell in cells]
    except ValueError:
        return [float(cell) if _NUMBER.fullmatch(cell) else math.nan for cell in cells]
