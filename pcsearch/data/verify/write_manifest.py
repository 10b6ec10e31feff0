"""A manifest CSV whose groups keep near-duplicates on one side of every split."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pcsearch.data.dataset import DataOptions, Int64Array
from pcsearch.data.datasets.folder import find_parts
from pcsearch.data.layouts.manifest_table import as_text, read_manifest
from pcsearch.data.sources import FileImages
from pcsearch.data.splits import units_of
from pcsearch.data.verify.check import Inspected, clusters_of, images_of
from pcsearch.errors import UserError
from pcsearch.io import create_anew, expanded
from pcsearch.printable import encodable


def write_manifest(inspected: Inspected, path: Path) -> int:
    """Write `path,label,group,split` for all readable images; return the number of lines.

    - Images of one picture get one group. The dataset's own groups are kept, and groups that share
      a picture are joined.
    - An official split may divide a group. Then each side gets its own group; `report_on` lists
      such pairs.
    - Paths are relative to the CSV's folder if the images are in it, else absolute. They are
      `encodable`; `read_manifest` takes this back.
    - `split` is omitted if this package held out the test images (dataset `images` without a folder
      test/). Then they are held out again, by groups.

    Args:
        inspected: the result of `inspect`.
        path: the CSV to write.

    Raises:
        UserError: see `check_writable`; or the images are no files, or the disk is full.
    """
    dataset, options, scanned = inspected.dataset, inspected.options, inspected.scanned
    check_writable(path)
    if not isinstance(dataset.train.images, FileImages):
        raise UserError(f"dataset {dataset.id} is not made of image files: no manifest for it.")
    images = images_of(dataset)
    clusters = clusters_of(scanned)
    for offset, part in ((0, dataset.train), (len(dataset.train.labels), dataset.test)):
        if part is not None and part.groups is not None:
            clusters = _joined(clusters, part.groups, offset)
    splits = _splits(dataset.id, options, images.parts)
    groups = _number([*zip(splits, clusters.tolist(), strict=True)])
    header = ["path", "label", "group"] if None in splits else ["path", "label", "group", "split"]
    lines = [
        [
            encodable(_from(path.parent, Path(images.name(i)))),
            images.label(i),
            str(groups[i]),
            splits[i],
        ]
        for i, one in enumerate(scanned)
        if one.reason is None
    ]
    _write(path, header, [line[: len(header)] for line in lines])
    return len(lines)


def check_writable(path: Path) -> None:
    """Check early whether a manifest can be written.

    Raises:
        UserError: the file exists, or its folder does not.
    """
    if path.exists():
        raise UserError(f"{path} exists already: choose another name, or remove it.")
    if not path.parent.is_dir():
        raise UserError(f"cannot write {path}: there is no folder {path.parent}. Create it first.")


def _splits(dataset_id: str, options: DataOptions, parts: Sequence[str]) -> list[str] | list[None]:
    """Each image's cell in the column `split`; None if the column is omitted."""
    if not _held_out(dataset_id, options):
        return list(parts)
    if "val" in parts:  # val is given and stays; the held-out test returns to train
        return ["train" if part == "test" else part for part in parts]
    return [None] * len(parts)


def _held_out(dataset_id: str, options: DataOptions) -> bool:
    """Whether this package, not the dataset, chose the test part."""
    if dataset_id == "images" and options.images is not None:
        return "test" not in find_parts(expanded(options.images))
    if dataset_id == "manifest" and options.manifest is not None:
        splits = read_manifest(expanded(options.manifest)).columns.get("split", ())
        return not any(str(split).strip().lower() == "test" for split in splits)
    return False


def _number(keys: Sequence[tuple[str | None, int]]) -> list[int]:
    """Numbers from 0, equal for equal keys. So a group is never in two splits."""
    numbers: dict[tuple[str | None, int], int] = {}
    return [numbers.setdefault(key, len(numbers)) for key in keys]


def _joined(clusters: Int64Array, stated: Int64Array, offset: int) -> Int64Array:
    """The clusters, joined if they share one of the dataset's groups."""
    numbers = np.full(len(clusters), -1, dtype=np.int64)
    numbers[offset : offset + len(stated)] = np.unique(stated, return_inverse=True)[1].reshape(-1)
    return units_of(len(clusters), clusters, numbers)


def _from(folder: Path, image: Path) -> str:
    image, folder = Path(os.path.abspath(image)), Path(os.path.abspath(folder))  # noqa: PTH100
    return (image.relative_to(folder) if image.is_relative_to(folder) else image).as_posix()


def _safe(line: Sequence[str | None]) -> list[str | None]:
    """The line, safe to open in a spreadsheet: a label may be a formula."""
    return [cell and as_text(cell) for cell in line]


def _write(path: Path, header: list[str], lines: Sequence[Sequence[str | None]]) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        content = create_anew(temporary)
        with io.TextIOWrapper(content, "utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([header, *map(_safe, lines)])
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"cannot write {path}: {error.strerror or error}.") from error
