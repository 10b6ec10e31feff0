"""NABirds, in the layout of its archive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pcsearch.data.dataset import Archive, CatalogEntry, DataOptions, Dataset
from pcsearch.data.layouts.official import Listing, assemble, dataset_folder, holds, level_of
from pcsearch.data.layouts.text_tables import read_boxes, read_table
from pcsearch.errors import UserError

_NEEDED = (
    "images.txt",
    "classes.txt",
    "image_class_labels.txt",
    "train_test_split.txt",
    "bounding_boxes.txt",
    "hierarchy.txt",
    "images/",
)
_LEVELS = ("leaf", "species", "family", "order")
_ROOT = "0"


def read(options: DataOptions) -> Dataset:
    """The official images, split, labels and boxes, at the level in `options.levels`.

    The hierarchy has 1,011 nodes. Its leaves have the images.

    | level | classes | meaning |
    | --- | --- | --- |
    | leaf | 555 | a species or one plumage of it |
    | species | 404 | |
    | family | 50 | a family of the perching birds; for all other birds the order |
    | order | 22 | |

    Classes are sorted by their numbers in classes.txt, which `data.classes` uses.

    Raises:
        UserError: files are missing or disagree, or `data.classes` or `data.levels` is wrong.
    """
    level = _LEVELS.index(level_of(ENTRY, options))
    folder = dataset_folder(ENTRY, options.root, _NEEDED)
    names = {
        number: " ".join(name.split())
        for number, name in read_table(folder / "classes.txt").items()
    }
    files = read_table(folder / "images.txt")
    leaf_of = read_table(folder / "image_class_labels.txt", keys=files)
    is_train = read_table(folder / "train_test_split.txt", keys=files)
    boxes = read_boxes(folder / "bounding_boxes.txt", files, "x, y, width, height")

    lines = _lines(folder, {leaf_of[image] for image in files}, names)
    classes = sorted({line[level] for line in lines.values()}, key=int)
    above = {line[level]: line[level + 1 :] for line in lines.values()}
    positions = {number: position for position, number in enumerate(classes)}
    labels = np.array([positions[lines[leaf_of[image]][level]] for image in files], dtype=np.int64)
    paths = [f"images/{name}" for name in files.values()]
    train = np.array([is_train[image] == "1" for image in files])

    def part(in_train: bool) -> Listing:
        rows = np.flatnonzero(train == in_train)
        return Listing([paths[row] for row in rows], labels[rows], boxes[rows])

    return assemble(
        ENTRY.id,
        folder,
        [names[number] for number in classes],
        part(True),
        part(False),
        options,
        numbers=[int(number) for number in classes],
        ancestors=[tuple(names[number] for number in above[number_]) for number_ in classes]
        if above[classes[0]]
        else None,
    )


def _lines(
    folder: Path, leaves: set[str], names: dict[str, str]
) -> dict[str, tuple[str, str, str, str]]:
    """For each leaf, its class numbers at the four levels, the leaf first."""
    parent_of = read_table(folder / "hierarchy.txt")
    lines = {}
    for leaf in leaves:
        line = _to_root(leaf, parent_of)
        unknown = [number for number in line if number not in names or not number.isdecimal()]
        if unknown:
            raise UserError(
                f"{folder / 'classes.txt'} does not name class {unknown[0]}; unpack the dataset "
                "again."
            )
        if len(line) < len(_LEVELS) - 1:
            raise UserError(
                f"{folder / 'hierarchy.txt'} does not lead from class {leaf} through a species "
                f"and an order to the root {_ROOT}; unpack the dataset again."
            )
        lines[leaf] = (line[0], line[1], line[2], line[-1])
    return lines


def _to_root(leaf: str, parent_of: dict[str, str]) -> Sequence[str]:
    """The nodes from a leaf up to the root, without the root; empty if they do not lead there."""
    line = [leaf]
    while (parent := parent_of.get(line[-1])) != _ROOT:
        if parent is None or parent in line:
            return []
        line.append(parent)
    return line


ENTRY = CatalogEntry(
    id="nabirds",
    title="NABirds",
    classes=555,
    reader=read,
    description="48,562 photographs of 404 North American bird species, some divided by plumage, "
    "with boxes; official split: 23,929 train, 24,633 test.",
    citation="G. Van Horn, S. Branson, R. Farrell, S. Haber, J. Barry, P. Ipeirotis, P. Perona, "
    "S. Belongie. Building a Bird Recognition App and Large Scale Dataset with Citizen "
    "Scientists: The Fine Print in Fine-Grained Dataset Collection. CVPR, 2015.",
    terms="non-commercial use, under the terms shown with the form on its site",
    homepage="https://dl.allaboutbirds.org/nabirds",
    images={"train": 23929, "test": 24633},
    folder="nabirds",
    is_in=holds(*_NEEDED),
    archives=(Archive("nabirds.tar.gz", ()),),
    by_hand="Fill in the form at https://dl.allaboutbirds.org/nabirds, download nabirds.tar.gz "
    "and put it into the root: pcsearch data get nabirds unpacks it",
    samples_per_class=43.5,
    levels=_LEVELS,
)
