"""Stanford Dogs, in the layout of its three archives."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from pcsearch.data.dataset import (
    Archive,
    CatalogEntry,
    DataOptions,
    Dataset,
    Float32Array,
    Int64Array,
)
from pcsearch.data.layouts.matlab import read_mat
from pcsearch.data.layouts.official import (
    Listing,
    assemble,
    dataset_folder,
    find_place,
    holds,
    labels_of_numbers,
)
from pcsearch.errors import UserError
from pcsearch.io import read_regular

_SITE = "http://vision.stanford.edu/aditya86/ImageNetDogs"
_IMAGES = ("Images/", "images/Images/")
_ANNOTATIONS = ("Annotation/", "annotations/Annotation/")
_TRAIN = ("train_list.mat", "lists/train_list.mat")
_TEST = ("test_list.mat", "lists/test_list.mat")
_CORNER = re.compile(rb"<(xmin|ymin|xmax|ymax)>\s*(-?\d+)")
_CORNER_ORDER = (b"xmin", b"ymin", b"xmax", b"ymax")
_CHUNK_FILES = 256
_ANNOTATION_BYTES = 10**6
_READ_THREADS = 8  # a shared file system answers slowly, but many requests at once


def read(options: DataOptions) -> Dataset:
    """The official images, split and labels of all classes, with boxes if available.

    Boxes come from the annotation files (annotation.tar). An image with several dogs gets the
    largest box. Without the annotation folder there are no boxes. A class name is its folder's name
    without the WordNet number.

    Raises:
        UserError: files are missing or disagree, or `data.classes` is wrong.
    """
    folder = dataset_folder(ENTRY, options.root, (_TRAIN, _TEST, _IMAGES))
    train, train_numbers = _listed(folder, _TRAIN)
    test, test_numbers = _listed(folder, _TEST)
    files, rows = [*train, *test], len(train)
    breeds = [file.partition("/")[0] for file in files]
    lists = folder / (find_place(folder, _TRAIN) or _TRAIN[0])
    labels = labels_of_numbers([*train_numbers, *test_numbers], len(set(breeds)), lists.parent)
    names = _class_names(labels, breeds, lists.parent)
    images = find_place(folder, _IMAGES) or _IMAGES[0]
    paths = [f"{images}{file}" for file in files]
    boxes = _boxes(folder, [file.removesuffix(".jpg") for file in files])

    def part(which: slice) -> Listing:
        return Listing(paths[which], labels[which], None if boxes is None else boxes[which])

    return assemble(ENTRY.id, folder, names, part(slice(rows)), part(slice(rows, None)), options)


def _listed(folder: Path, places: tuple[str, ...]) -> tuple[list[str], list[int]]:
    """The image files and class numbers of a list."""
    path = folder / (find_place(folder, places) or places[0])
    content = read_mat(path)
    files, numbers = content.texts("file_list"), content.numbers("labels").tolist()
    if len(files) != len(numbers):
        raise UserError(
            f"{path} lists {len(files)} images, but {len(numbers)} labels; download the file again."
        )
    return files, numbers


def _class_names(labels: Int64Array, breeds: Sequence[str], where: Path) -> list[str]:
    breed_of: dict[int, str] = {}
    for label, breed in zip(labels.tolist(), breeds, strict=True):
        if breed_of.setdefault(label, breed) != breed:
            raise UserError(
                f"{where}: train_list.mat and test_list.mat disagree: class {label + 1} is "
                f"{breed_of[label]} and {breed}; download the files again."
            )
    folders = [breed_of[label] for label in sorted(breed_of)]
    return [(name.partition("-")[2] or name).replace("_", " ") for name in folders]


def _boxes(folder: Path, names: Sequence[str]) -> Float32Array | None:
    """One box an image, [n, 4]. A regular expression takes a third of an XML parser's time."""
    place = find_place(folder, _ANNOTATIONS)
    if place is None:
        return None
    annotations = folder / place

    def boxes(chunk: Sequence[str]) -> list[tuple[int, int, int, int] | None]:
        return [_box(annotations / name) for name in chunk]

    chunks = [names[i : i + _CHUNK_FILES] for i in range(0, len(names), _CHUNK_FILES)]
    with ThreadPoolExecutor(_READ_THREADS) as pool:
        found = [box for chunk in pool.map(boxes, chunks) for box in chunk]
    lacking = [name for name, box in zip(names, found, strict=True) if box is None]
    if lacking:
        raise UserError(
            f"{annotations} lacks the boxes of {len(lacking)} of {len(names)} images "
            f"({lacking[0]}, ...): unpack annotation.tar again, or remove the folder to use no "
            "boxes."
        )
    return np.array(found, dtype=np.float32)


def _box(path: Path) -> tuple[int, int, int, int] | None:
    """x, y, width, height of the largest dog; None if the file has no box."""
    try:
        corners = _CORNER.findall(read_regular(path, _ANNOTATION_BYTES))
    except OSError:
        return None
    by_name = [[int(value) for name, value in corners if name == n] for n in _CORNER_ORDER]
    dogs = [
        (left, top, right - left, bottom - top)
        for left, top, right, bottom in zip(*by_name, strict=False)
    ]
    return max(dogs, key=lambda dog: dog[2] * dog[3], default=None)


def _archive(name: str, size_bytes: int, sha256: str) -> Archive:
    return Archive(name, (f"{_SITE}/{name}",), size_bytes, f"sha256:{sha256}", "stanford_dogs")


ENTRY = CatalogEntry(
    id="dogs",
    title="Stanford Dogs",
    classes=120,
    reader=read,
    description="20,580 photographs of 120 dog breeds, a part of ImageNet, with boxes; official "
    "split: 12,000 train, 8,580 test.",
    citation="A. Khosla, N. Jayadevaprakash, B. Yao, L. Fei-Fei. Novel Dataset for Fine-Grained "
    "Image Categorization. First Workshop on Fine-Grained Visual Categorization, CVPR, 2011.",
    terms="no licence stated; ImageNet's terms: non-commercial research and education",
    homepage=f"{_SITE}/",
    images={"train": 12000, "test": 8580},
    in_imagenet="Stanford Dogs was built from ImageNet's images",
    folder="stanford_dogs",
    is_in=holds(_TRAIN, _TEST, _IMAGES),
    archives=(
        _archive(
            "images.tar",
            793_579_520,
            "a443fc2f9a851aa1a7b8e4fa4af94b8459fce2c9f5a2f4dd4669cf9673a4ec58",
        ),
        _archive(
            "annotation.tar",
            21_852_160,
            "662ed36f707be6b195c2fda392d8e153e83af28cedc8e2134a649f198def30fd",
        ),
        _archive(
            "lists.tar",
            481_280,
            "34b47cacd9a98b5d150e084f24d29391c084c55272295ec65c85651bc35f4d6c",
        ),
    ),
    samples_per_class=100,
)
