"""Stanford Cars, in both of its published layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pcsearch.data.dataset import CatalogEntry, DataOptions, Dataset, Float32Array, Int64Array
from pcsearch.data.layouts.matlab import MatFile, read_mat
from pcsearch.data.layouts.official import (
    Listing,
    assemble,
    boxes_of_corners,
    dataset_folder,
    find_place,
    holds,
    labels_of_numbers,
)
from pcsearch.errors import UserError

_ONE_FOLDER = ("car_ims/", "cars_annos.mat")
_DEVKIT = ("devkit/", "", "car_devkit/devkit/")
_META = tuple(f"{place}cars_meta.mat" for place in _DEVKIT)
_TRAIN = tuple(f"{place}cars_train_annos.mat" for place in _DEVKIT)
_TEST_NAMES = ("cars_test_annos_withlabels.mat", "cars_test_annos_withlabels (1).mat")
_TEST = tuple(f"{place}{name}" for name in _TEST_NAMES for place in ("", *_DEVKIT))
_TWO_FOLDERS = ("cars_train/", "cars_test/", _META, _TRAIN, _TEST)
_CORNERS = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")


def read(options: DataOptions) -> Dataset:
    """The official images, split, labels and boxes of all classes.

    One layout has cars_train/, cars_test/ and the development kit with the test labels. Its images
    may be one folder deeper (cars_train/cars_train/, as in Kaggle's archive). The other layout has
    car_ims/ and cars_annos.mat.

    Raises:
        UserError: files are missing or disagree, or `data.classes` is wrong.
    """
    if _is_one_folder(options.root):
        return _read_one_folder(options)
    folder = dataset_folder(ENTRY, options.root, _TWO_FOLDERS)
    train = read_mat(folder / _found(folder, _TRAIN))
    test = read_mat(folder / _found(folder, _TEST))
    if test.has("annotations") and not test.has("annotations.class"):
        raise UserError(
            f"{test.path} holds no labels: it is a copy of the development kit's "
            f"cars_test_annos.mat. {ENTRY.by_hand}."
        )
    names = read_mat(folder / _found(folder, _META)).texts("class_names")
    in_train, in_test = (part.numbers("annotations.class").tolist() for part in (train, test))
    labels = labels_of_numbers([*in_train, *in_test], len(names), train.path)
    rows = len(in_train)
    return assemble(
        ENTRY.id,
        folder,
        names,
        Listing(_files(folder, "cars_train/", train), labels[:rows], _boxes(train)),
        Listing(_files(folder, "cars_test/", test), labels[rows:], _boxes(test)),
        options,
    )


def _read_one_folder(options: DataOptions) -> Dataset:
    folder = dataset_folder(ENTRY, options.root, _ONE_FOLDER)
    annotations = read_mat(folder / "cars_annos.mat")
    names = annotations.texts("class_names")
    files = annotations.texts("annotations.relative_im_path")
    numbers = annotations.numbers("annotations.class").tolist()
    labels = labels_of_numbers(numbers, len(names), annotations.path)
    boxes = _boxes(annotations)
    is_test = annotations.numbers("annotations.test") == 1

    def part(rows: Int64Array) -> Listing:
        return Listing([files[row] for row in rows], labels[rows], boxes[rows])

    train, test = np.flatnonzero(~is_test), np.flatnonzero(is_test)
    return assemble(ENTRY.id, folder, names, part(train), part(test), options)


def _is_one_folder(root: Path) -> bool:
    """Whether only the layout with all images in car_ims/ is there."""
    folders = (root / ENTRY.folder, root)
    if any((folder / "cars_train").is_dir() for folder in folders):
        return False
    return any((folder / "car_ims").is_dir() for folder in folders)


def _is_own_folder(folder: Path) -> bool:
    return holds(*_TWO_FOLDERS)(folder) or holds(*_ONE_FOLDER)(folder)


def _found(folder: Path, places: tuple[str, ...]) -> str:
    return find_place(folder, places) or places[0]


def _files(folder: Path, images: str, annotations: MatFile) -> list[str]:
    nested = f"{images}{images}"
    inside = nested if (folder / nested).is_dir() else images
    return [f"{inside}{name}" for name in annotations.texts("annotations.fname")]


def _boxes(annotations: MatFile) -> Float32Array:
    columns = [annotations.numbers(f"annotations.{corner}") for corner in _CORNERS]
    return boxes_of_corners(np.stack(columns, axis=1))


ENTRY = CatalogEntry(
    id="cars",
    title="Stanford Cars",
    classes=196,
    reader=read,
    description="16,185 photographs of 196 car models (make, model, year) with boxes; official "
    "split: 8,144 train, 8,041 test.",
    citation="J. Krause, M. Stark, J. Deng, L. Fei-Fei. 3D Object Representations for "
    "Fine-Grained Categorization. 4th International IEEE Workshop on 3D Representation and "
    "Recognition (3dRR-13), Sydney, 2013.",
    terms="no licence stated; the authors offered it for research, the photographs belong to "
    "their authors",
    homepage="https://ai.stanford.edu/~jkrause/cars/car_dataset.html",
    images={"train": 8144, "test": 8041},
    folder="stanford_cars",
    is_in=_is_own_folder,
    by_hand="Its site is gone. Fetch a copy of the images, for example from "
    "https://www.kaggle.com/datasets/jessicali9530/stanford-cars-dataset . Fetch the development "
    "kit and the test labels from the links in https://github.com/pytorch/vision/issues/7545 . "
    "Arrange them as stanford_cars/cars_train/*.jpg, stanford_cars/cars_test/*.jpg, "
    "stanford_cars/devkit/cars_meta.mat, stanford_cars/devkit/cars_train_annos.mat and "
    "stanford_cars/cars_test_annos_withlabels.mat. The last file has 185,758 bytes; the "
    "development kit's cars_test_annos.mat lacks the labels",
    samples_per_class=41.55,
)
