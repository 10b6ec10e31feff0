"""A person's own images, listed in a CSV or Parquet file."""

from __future__ import annotations

import math
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from pcsearch.data.classes import choose_classes, rows_of
from pcsearch.data.dataset import CatalogEntry, DataOptions, Dataset, Float32Array, Int64Array
from pcsearch.data.datasets.folder import PART_NAMES
from pcsearch.data.layouts.manifest_table import BOX_COLUMNS, ManifestTable, read_manifest
from pcsearch.data.layouts.own_images import OwnPart, own_dataset
from pcsearch.data.sources import FileImages
from pcsearch.errors import UserError, did_you_mean
from pcsearch.io import expanded

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


_FEW_MISSING = 10


def read(options: DataOptions) -> Dataset:
    """The images in the manifest's order; see `manifest_table.read_manifest` for the file.

    Paths are relative to the manifest's folder, or absolute. Classes are in numerical order
    where all labels are numbers (which `data.classes` then means), else in alphabetical order,
    numbered from 1. Images of split val come after those to train on, their indices in
    `given_val`; without any of split test, or without the column, a share `test_fraction` of
    every class is held out by `split_seed`. Images of one group, and copies of one file, are
    held out, or set aside for validation, all or none; an empty group is the image's own. A box
    is x, y, width and height in pixels, and every image has one or none has.

    Raises UserError, with the line, for whatever is wrong in the file: an unknown split, a path
    listed twice, a group in two splits, a class that is in one split only, missing images.
    """
    if options.manifest is None:
        raise UserError("dataset manifest: say which file by data.manifest (or --manifest).")
    path = expanded(options.manifest)
    table = read_manifest(path)
    _refuse_repeated_paths(table)
    rows = ManifestRows.of(table)
    chosen = choose_classes(rows.names, options.classes)
    names = [rows.names[position] for position in chosen]
    which, labels = rows_of(rows.labels, chosen)
    parts = {
        split: which[rows.splits[which] == number]
        for number, split in enumerate(PART_NAMES)
        if (rows.splits[which] == number).any()
    }
    _check_classes(table, rows, parts, chosen)
    _check_groups(table, rows, parts)
    if options.half_unpacked == "refuse":
        _check_files(table, path.parent, which)
    label_of = np.full(len(rows.labels), -1, dtype=np.int64)
    label_of[which] = labels
    files = table.columns["path"]
    own = {
        split: OwnPart(
            [files[row] for row in of_split],
            label_of[of_split],
            None if rows.boxes is None else rows.boxes[of_split],
            None if rows.groups is None else rows.groups[of_split],
        )
        for split, of_split in parts.items()
    }
    return own_dataset(ENTRY.id, path.parent, own, names, options, where=str(path))


def _refuse_repeated_paths(table: ManifestTable) -> None:
    first: dict[str, int] = {}
    for row, path in enumerate(table.columns["path"]):
        earlier = first.setdefault(posixpath.normpath(path), row)
        if earlier != row:
            raise UserError(
                f"{table.where(row)}: {path} is listed in {table.unit} {table.lines[earlier]} "
                "already; keep one of them."
            )


def _check_classes(
    table: ManifestTable, rows: ManifestRows, parts: dict[str, Int64Array], chosen: Sequence[int]
) -> None:
    """Every chosen class must have images in every part."""
    if "train" not in parts:
        raise UserError(f"{table.file} has no images of split train.")
    present = {split: set(rows.labels[of_split].tolist()) for split, of_split in parts.items()}
    for split, of_split in parts.items():
        for position in chosen:
            name = rows.names[position]
            if position not in present["train"] and position in present[split]:
                row = int(of_split[np.argmax(rows.labels[of_split] == position)])
                raise UserError(
                    f"{table.where(row)}: class {name} has no images of split train, but some of "
                    f"split {split}: add some, or leave out the class by data.classes."
                )
    for split in parts:
        lacking = [rows.names[position] for position in chosen if position not in present[split]]
        if lacking:
            raise UserError(
                f"{table.file}: {', '.join(lacking[:10])} without images of split {split}, which "
                "others have. All classes need some: add them, or leave out these classes by "
                "data.classes."
            )


def _check_groups(table: ManifestTable, rows: ManifestRows, parts: dict[str, Int64Array]) -> None:
    """A group in two parts would put near copies of training images among those to test on."""
    if rows.groups is None:
        return
    for one, other in (("train", "test"), ("train", "val"), ("val", "test")):
        if one not in parts or other not in parts:
            continue
        shared = np.intersect1d(rows.groups[parts[one]], rows.groups[parts[other]])
        if len(shared):
            first = [int(np.argmax(rows.groups == group)) for group in shared[:5]]
            named = ", ".join(table.columns["group"][row] for row in first)
            row = int(parts[other][np.isin(rows.groups[parts[other]], shared[:1])][0])
            more = f" and {len(shared) - 5} more" if len(shared) > 5 else ""
            raise UserError(
                f"{table.where(row)}: split {other} has images of groups that split {one} has "
                f"too: {named}{more}. Give a group one split, or leave out the column split, and "
                "a test part is held out by groups."
            )


def _check_files(table: ManifestTable, root: Path, which: Int64Array) -> None:
    """A few missing files are unreadable images; many are a wrong folder."""
    paths = table.columns["path"]
    missing = FileImages.of(root, [paths[row] for row in which]).missing
    if len(missing) == len(which) or len(missing) >= max(_FEW_MISSING, len(which) // 100):
        row = int(which[missing[0]])
        raise UserError(
            f"{table.where(row)}: there is no file {root / paths[row]}, nor {len(missing) - 1} "
            f"others of {len(which)}. Paths are relative to the manifest's folder, or absolute."
        )


ENTRY = CatalogEntry(
    id="manifest",
    title="Your own images, listed in a file",
    classes=None,
    reader=read,
    description="a CSV or Parquet file with the columns path and label and, where wanted, split "
    "(train, val, test), group (images to keep on one side of a split) and x, y, w, h (a box in "
    "pixels); a stratified test part is held out where none is given.",
    citation="",
    terms="yours",
    homepage="",
)
