"""A person's own images, listed in a CSV or Parquet file."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pcsearch.data.classes import choose_classes, rows_of
from pcsearch.data.dataset import Dataset, Int64Array
from pcsearch.data.entry import CatalogEntry
from pcsearch.data.options import DataOptions
from pcsearch.data.readers.folder_layout import PART_NAMES
from pcsearch.data.readers.manifest_rows import ManifestRows
from pcsearch.data.readers.manifest_table import ManifestTable, read_manifest
from pcsearch.data.readers.own_images import OwnPart, own_dataset
from pcsearch.data.sources import FileImages
from pcsearch.errors import UserError
from pcsearch.regular_files import expanded

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
