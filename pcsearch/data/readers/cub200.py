"""Caltech-UCSD Birds-200-2011 as its archive unpacks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from pcsearch.data.classes import choose_classes, rows_of
from pcsearch.data.dataset import Dataset, Float32Array, Part
from pcsearch.data.options import DataOptions
from pcsearch.data.readers.text_tables import read_table
from pcsearch.data.sources import FileImages
from pcsearch.errors import UserError

FOLDER = "CUB_200_2011"
HOMEPAGE = "https://www.vision.caltech.edu/datasets/cub_200_2011/"
_TABLES = (
    "images.txt",
    "classes.txt",
    "image_class_labels.txt",
    "train_test_split.txt",
    "bounding_boxes.txt",
)


def read(options: DataOptions) -> Dataset:
    """The official images, split, labels and boxes, of all classes that classes.txt lists.

    Raises UserError if files are missing or disagree, or `data.classes` is wrong.
    """
    folder = _folder(options.root)
    names = read_table(folder / "images.txt")
    class_names = read_table(folder / "classes.txt")
    label_of = read_table(folder / "image_class_labels.txt", keys=names)
    is_train = read_table(folder / "train_test_split.txt", keys=names)
    box_of = read_table(folder / "bounding_boxes.txt", keys=names)

    positions = {number: position for position, number in enumerate(class_names)}
    unknown = sorted(set(label_of.values()) - set(positions))
    if unknown:
        raise UserError(f"{folder / 'classes.txt'} does not name class {unknown[0]}.")
    labels = np.array([positions[label_of[image]] for image in names], dtype=np.int64)
    train = np.array([is_train[image] == "1" for image in names])
    boxes = _boxes(folder, [box_of[image] for image in names])
    files = [f"images/{name}" for name in names.values()]
    titles = list(class_names.values())
    chosen = choose_classes(titles, options.classes, [int(number) for number in class_names])

    def part(of_part: npt.NDArray[np.bool_], what: str) -> Part:
        rows = np.flatnonzero(of_part)
        of_chosen, renumbered = rows_of(labels[rows], chosen)
        rows = rows[of_chosen]
        for position in sorted(set(chosen) - set(labels[rows].tolist())):
            raise UserError(f"class {titles[position]} has no {what} images in {folder}.")
        return Part(FileImages.of(folder, [files[row] for row in rows]), renumbered, boxes[rows])

    _check_folders(folder, {files[i].rsplit("/", 1)[0] for i in rows_of(labels, chosen)[0]})
    return Dataset(
        "cub200",
        tuple(titles[position] for position in chosen),
        part(train, "training"),
        part(~train, "test"),
    )


def _folder(root: Path) -> Path:
    for folder in (root / FOLDER, root):
        missing = [name for name in _TABLES if not (folder / name).is_file()]
        if not missing and not (folder / "images").is_dir():
            missing = ["images/"]
        if not missing:
            return folder
        if len(missing) < len(_TABLES):
            break
    raise UserError(
        f"CUB-200-2011 is not complete at {folder if folder != root else root / FOLDER}: "
        f"{', '.join(missing)} missing. Download CUB_200_2011.tgz (1.2 GB) from {HOMEPAGE} "
        f"and unpack it in {root}, or set data.root to the folder that holds {FOLDER}."
    )


def _check_folders(folder: Path, wanted: set[str]) -> None:
    missing = sorted(name for name in wanted if not (folder / name).is_dir())
    if missing:
        raise UserError(
            f"{folder} lacks {len(missing)} of {len(wanted)} image folders ({missing[0]}, ...): "
            "unpack the whole archive, or choose the classes that are there by data.classes."
        )


def _boxes(folder: Path, texts: list[str]) -> Float32Array:
    try:
        boxes = np.array([text.split() for text in texts], dtype=np.float32)
        return boxes.reshape(len(texts), 4)
    except ValueError as error:
        raise UserError(
            f"{folder / 'bounding_boxes.txt'}: every line must hold an image number and "
            "x, y, width, height."
        ) from error
