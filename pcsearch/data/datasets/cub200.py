"""Caltech-UCSD Birds-200-2011, in the layout of its archive."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pcsearch.data.dataset import Archive, CatalogEntry, DataOptions, Dataset, Float32Array
from pcsearch.data.layouts.official import Listing, assemble, dataset_folder, holds
from pcsearch.data.layouts.text_tables import read_table
from pcsearch.errors import UserError

_NEEDED = (
    "images.txt",
    "classes.txt",
    "image_class_labels.txt",
    "train_test_split.txt",
    "bounding_boxes.txt",
    "images/",
)


def read(options: DataOptions) -> Dataset:
    """The official images, split, labels and boxes of all classes in classes.txt.

    Raises:
        UserError: files are missing or disagree, or `data.classes` is wrong.
    """
    folder = dataset_folder(ENTRY, options.root, _NEEDED)
    names = read_table(folder / "images.txt")
    class_names = read_table(folder / "classes.txt")
    label_of = read_table(folder / "image_class_labels.txt", keys=names)
    is_train = read_table(folder / "train_test_split.txt", keys=names)
    box_of = read_table(folder / "bounding_boxes.txt", keys=names)

    if strange := [number for number in class_names if not number.isdecimal()]:
        raise UserError(
            f"{folder / 'classes.txt'}: {strange[0]!r} is no class number; unpack the dataset "
            "again."
        )
    positions = {number: position for position, number in enumerate(class_names)}
    unknown = sorted(set(label_of.values()) - set(positions))
    if unknown:
        raise UserError(
            f"{folder / 'classes.txt'} does not name class {unknown[0]}; unpack the dataset again."
        )
    labels = np.array([positions[label_of[image]] for image in names], dtype=np.int64)
    train = np.array([is_train[image] == "1" for image in names])
    boxes = _boxes(folder, [box_of[image] for image in names])
    files = [f"images/{name}" for name in names.values()]

    def part(in_train: bool) -> Listing:
        rows = np.flatnonzero(train == in_train)
        return Listing([files[row] for row in rows], labels[rows], boxes[rows])

    return assemble(
        ENTRY.id,
        folder,
        list(class_names.values()),
        part(True),
        part(False),
        options,
        numbers=[int(number) for number in class_names],
    )


def _is_own_folder(folder: Path) -> bool:
    of_nabirds = (folder / "hierarchy.txt").exists()  # NABirds has all of these tables, too
    return holds(*_NEEDED)(folder) and not of_nabirds


def _boxes(folder: Path, texts: list[str]) -> Float32Array:
    try:
        boxes = np.array([text.split() for text in texts], dtype=np.float32)
        return boxes.reshape(len(texts), 4)
    except ValueError as error:
        raise UserError(
            f"{folder / 'bounding_boxes.txt'}: every line must hold an image number and "
            "x, y, width, height; unpack the dataset again."
        ) from error


ENTRY = CatalogEntry(
    id="cub200",
    title="Caltech-UCSD Birds-200-2011",
    classes=200,
    reader=read,
    description="11,788 photographs of 200 bird species with boxes; official split: 5,994 "
    "train, 5,794 test.",
    citation="C. Wah, S. Branson, P. Welinder, P. Perona, S. Belongie. The Caltech-UCSD "
    "Birds-200-2011 Dataset. Technical Report CNS-TR-2011-001, Caltech, 2011.",
    terms="non-commercial research and education; the photographs belong to their authors",
    homepage="https://www.vision.caltech.edu/datasets/cub_200_2011/",
    images={"train": 5994, "test": 5794},
    in_imagenet="the authors of CUB-200-2011 warn that some of its images are in ImageNet",
    folder="CUB_200_2011",
    is_in=_is_own_folder,
    archives=(
        Archive(
            file="CUB_200_2011.tgz",
            urls=("https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",),
            size_bytes=1_150_585_339,
            checksum="md5:97eceeb196236b17998738112f37df78",
        ),
    ),
    samples_per_class=29.97,
)
