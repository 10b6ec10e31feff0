"""The user's own images, listed in a CSV or Parquet file."""

from __future__ import annotations

import math
import posixpath
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from pcsearch.data.classes import EMPTY_LABELS, choose_classes, one_spelling, refuse_alike, rows_of
from pcsearch.data.dataset import CatalogEntry, DataOptions, Dataset, Float32Array, Int64Array
from pcsearch.data.datasets.folder import PART_NAMES
from pcsearch.data.layouts.manifest_paths import hint_at, taken_path
from pcsearch.data.layouts.manifest_table import BOX_COLUMNS, ManifestTable, read_manifest
from pcsearch.data.layouts.own_images import OwnPart, own_dataset
from pcsearch.data.sources import FileImages
from pcsearch.errors import UserError, did_you_mean
from pcsearch.io import expanded

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class ManifestRows:
    """The table's n rows as numbers.

    Attributes:
        names: all class names, in their order.
        labels: [n] positions in `names`.
        splits: [n] positions in PART_NAMES; 0 (train) without that column.
        groups: [n] group numbers, or None.
        boxes: [n, 4], or None.
    """

    names: list[str]
    labels: Int64Array
    splits: Int64Array
    groups: Int64Array | None
    boxes: Float32Array | None

    @staticmethod
    def of(table: ManifestTable) -> ManifestRows:
        """Raises UserError, with the line, for an invalid cell."""
        spelling = one_spelling(sorted(set(table.columns["label"])))
        cells = [spelling[label] for label in table.columns["label"]]
        names = _class_names(table, cells)
        position = {name: number for number, name in enumerate(names)}
        labels = np.array([position[name] for name in cells], dtype=np.int64)
        return ManifestRows(names, labels, split_numbers(table), _groups(table), _boxes(table))


_LONGEST_NUMBER = 18
"""Digits; a longer label counts as a name."""


def _class_names(table: ManifestTable, labels: list[str]) -> list[str]:
    names = sorted(set(labels))
    if len(names) < 2:
        raise UserError(
            f"{table.file} has only one class, {names[0]}; at least two are needed. Does the "
            "column label hold the classes?"
        )
    if not all(name.isdecimal() and len(name) <= _LONGEST_NUMBER for name in names):
        return names
    names.sort(key=int)
    for one, other in pairwise(names):
        if int(one) == int(other):
            first, second = sorted([labels.index(one), labels.index(other)])
            raise UserError(
                f"{table.where(second)} has the label {labels[second]}, but {table.unit} "
                f"{table.lines[first]} {labels[first]}: write the same number in the same way."
            )
    return names


def split_numbers(table: ManifestTable) -> Int64Array:
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
    """The cells as numbers; NaN for other cells."""
    try:
        return [float(cell) for cell in cells]
    except ValueError:
        return [float(cell) if _NUMBER.fullmatch(cell) else math.nan for cell in cells]


_FEW_MISSING = 10


def read(options: DataOptions) -> Dataset:
    """The images in the manifest's order; see `manifest_table.read_manifest` for the file.

    - Paths are relative to the manifest's folder, or absolute. See `taken_path` for others.
    - Labels that are the same text in two Unicode forms are one class.
    - If all labels are numbers, classes are in numerical order, and `data.classes` uses these
      numbers. Else classes are in alphabetical order and numbered from 1.
    - Images of split val follow those of split train; `given_val` has their indices.
    - Without images of split test, a share `test_fraction` of every class is held out by
      `split_seed`.
    - Images of one group and copies of one file are never divided between parts. An image without
      a group is a group of its own.
    - A box is x, y, width and height in pixels. All images have one, or none.

    Raises:
        UserError: an unknown split, a label that stands for an empty cell, a repeated path, a group
            in two splits, a class that some split lacks, or missing images. The text names the
            line.
    """
    if options.manifest is None:
        raise UserError("dataset manifest: give its file with data.manifest (or --manifest).")
    path = expanded(options.manifest)
    table, missing = with_taken_paths(read_manifest(path))
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
    counts = np.bincount(rows.labels, minlength=len(rows.names)).tolist()
    refuse_alike({rows.names[position]: counts[position] for position in chosen}, str(path))
    _refuse_empty_labels(table, rows, chosen)
    _check_classes(table, rows, parts, chosen)
    _check_groups(table, rows, parts)
    _check_files(table, which, missing, only_all=options.half_unpacked == "list")
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
    return own_dataset(
        ENTRY.id, path.parent, own, names, options, where=str(path), notes=_ignored(table)
    )


def _ignored(table: ManifestTable) -> list[str]:
    if not table.ignored:
        return []
    named = ", ".join(repr(name.strip()) if name.strip() else "unnamed" for name in table.ignored)
    what = "column is" if len(table.ignored) == 1 else "columns are"
    return [f"{len(table.ignored)} {what} ignored: {named}."]


def with_taken_paths(table: ManifestTable) -> tuple[ManifestTable, Collection[int]]:
    """The table, with paths that name no file replaced by what they must mean.

    Also the rows whose files remain missing.
    """
    root, paths = table.file.parent, table.columns["path"]
    missing = FileImages.of(root, paths).missing
    taken = {row: path for row in missing if (path := taken_path(root, paths[row])) is not None}
    meant = [taken.get(row, path) for row, path in enumerate(paths)] if taken else paths
    columns = {**table.columns, "path": meant}
    return replace(table, columns=columns), set(missing) - set(taken)


def _refuse_repeated_paths(table: ManifestTable) -> None:
    first: dict[str, int] = {}
    for row, path in enumerate(table.columns["path"]):
        earlier = first.setdefault(posixpath.normpath(path), row)
        if earlier != row:
            raise UserError(
                f"{table.where(row)}: {path} is already listed in {table.unit} "
                f"{table.lines[earlier]}; keep one of them."
            )


def _refuse_empty_labels(table: ManifestTable, rows: ManifestRows, chosen: Sequence[int]) -> None:
    for position in chosen:
        name = rows.names[position]
        if name.casefold() in EMPTY_LABELS:
            found = np.flatnonzero(rows.labels == position)
            raise UserError(
                f"{table.where(int(found[0]))}: the label {name!r} is how programs write an empty "
                f"cell; {len(found)} of {len(rows.labels)} rows have it. Fill it in, remove these "
                "rows, or leave them out with data.classes. If it is a class, rename it."
            )


def _check_classes(
    table: ManifestTable, rows: ManifestRows, parts: dict[str, Int64Array], chosen: Sequence[int]
) -> None:
    """Every chosen class must have images in every part."""
    if "train" not in parts:
        raise UserError(f"{table.file} has no images of split train: add some.")
    present = {split: set(rows.labels[of_split].tolist()) for split, of_split in parts.items()}
    for split, of_split in parts.items():
        for position in chosen:
            name = rows.names[position]
            if position not in present["train"] and position in present[split]:
                row = int(of_split[np.argmax(rows.labels[of_split] == position)])
                raise UserError(
                    f"{table.where(row)}: class {name} has images of split {split}, but none of "
                    "split train: add some, or leave out the class with data.classes."
                )
    for split in parts:
        lacking = [rows.names[position] for position in chosen if position not in present[split]]
        if lacking:
            raise UserError(
                f"{table.file}: split {split} has no images of {', '.join(lacking[:10])}, but of "
                "other classes. Every class needs some: add them, or leave out these classes with "
                "data.classes."
            )


def _check_groups(table: ManifestTable, rows: ManifestRows, parts: dict[str, Int64Array]) -> None:
    """Refuse a group in two parts: it would put near-copies of training images into the test."""
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
                f"too: {named}{more}. Give each group one split, or leave out the column split: "
                "then a test part is held out by groups."
            )


def _check_files(
    table: ManifestTable, which: Int64Array, missing: Collection[int], *, only_all: bool
) -> None:
    """Refuse many missing files (or, with `only_all`, all): a wrong folder.

    A few count as unreadable images.
    """
    lacking = [row for row in which.tolist() if row in missing]
    many = not only_all and len(lacking) >= max(_FEW_MISSING, len(which) // 100)
    if many or len(lacking) == len(which):
        root, path = table.file.parent, table.columns["path"][lacking[0]]
        raise UserError(
            f"{table.where(lacking[0])}: there is no file {root / path}; {len(lacking)} of "
            f"{len(which)} files are missing.{hint_at(root, path)} Paths are relative to the "
            "manifest's folder, or absolute."
        )


ENTRY = CatalogEntry(
    id="manifest",
    title="Your own images, listed in a file",
    classes=None,
    reader=read,
    description="a CSV or Parquet file with the columns path and label. Optional columns are split "
    "(train, val, test), group (images to keep on one side of a split) and x, y, w, h (a box in "
    "pixels). A stratified test part is held out if none is given.",
    citation="",
    terms="yours",
    homepage="",
)
