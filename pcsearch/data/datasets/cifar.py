"""CIFAR-10 and CIFAR-100, in the layouts of their Python and their binary archives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from pcsearch.data.classes import choose_classes, rows_of
from pcsearch.data.dataset import (
    Archive,
    CatalogEntry,
    DataOptions,
    Dataset,
    Int64Array,
    Part,
    UInt8Array,
)
from pcsearch.data.layouts import cifar_files as files
from pcsearch.data.layouts.official import dataset_folder, holds, level_of
from pcsearch.data.layouts.text_tables import read_names
from pcsearch.data.sources import LoadedImages
from pcsearch.errors import UserError

_SITE = "https://www.cs.toronto.edu/~kriz"
_LEVELS = ("fine", "coarse")


@dataclass(frozen=True)
class _Layout:
    """The files of one archive.

    Attributes:
        folder: its folder.
        train: the files of the training images.
        test: the file of the test images.
        names: for each level, the finest first: the file of its class names, and their key in it.
        labels: reads the labels in a file, [n, levels].
        load: reads the images in several files.
    """

    folder: str
    train: tuple[str, ...]
    test: str
    names: tuple[tuple[str, str], ...]
    labels: Callable[[Path], Int64Array]
    load: Callable[[Sequence[Path]], UInt8Array]

    @property
    def needed(self) -> list[str]:
        return [*self.train, self.test, *dict.fromkeys(file for file, _ in self.names)]


def _coarse_first(path: Path) -> Int64Array:
    return files.binary_labels(path, 2)[:, ::-1]


_LAYOUTS = {
    "cifar10": (
        _Layout(
            "cifar-10-batches-py",
            tuple(f"data_batch_{number}" for number in range(1, 6)),
            "test_batch",
            (("batches.meta", "label_names"),),
            partial(files.pickled_labels, fields=("labels",)),
            files.pickled_pixels,
        ),
        _Layout(
            "cifar-10-batches-bin",
            tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
            "test_batch.bin",
            (("batches.meta.txt", ""),),
            partial(files.binary_labels, label_bytes=1),
            files.binary_pixels_10,
        ),
    ),
    "cifar100": (
        _Layout(
            "cifar-100-python",
            ("train",),
            "test",
            (("meta", "fine_label_names"), ("meta", "coarse_label_names")),
            partial(files.pickled_labels, fields=("fine_labels", "coarse_labels")),
            files.pickled_pixels,
        ),
        _Layout(
            "cifar-100-binary",
            ("train.bin",),
            "test.bin",
            (("fine_label_names.txt", ""), ("coarse_label_names.txt", "")),
            _coarse_first,
            files.binary_pixels_100,
        ),
    ),
}


def read_cifar10(options: DataOptions) -> Dataset:
    """The official parts. As in the files, classes count from 0.

    Raises:
        UserError: files are missing or not the official ones, or `data.classes` is wrong.
    """
    return _read(CIFAR10_ENTRY, options)


def read_cifar100(options: DataOptions) -> Dataset:
    """The official parts with fine or coarse labels, by `levels`. Classes count from 0.

    The ancestor of a fine class is its coarse class.

    Raises:
        UserError: files are missing or not the official ones, or `data.classes` or `data.levels` is
            wrong.
    """
    return _read(CIFAR100_ENTRY, options)


def _read(entry: CatalogEntry, options: DataOptions) -> Dataset:
    named = level_of(entry, options)
    level = _LEVELS.index(named) if named else 0
    layout, folder = _find(entry, options.root)
    names = [_names(folder / file, key) for file, key in layout.names]
    batches = [_labels(layout, folder / file, names) for file in layout.train]
    if len({len(batch) for batch in batches}) > 1:
        counts = ", ".join(
            f"{file} {len(batch)}" for file, batch in zip(layout.train, batches, strict=True)
        )
        raise UserError(
            f"the files in {folder} do not hold the same number of images ({counts}): download and "
            "unpack the archive again."
        )
    train, test = np.concatenate(batches), _labels(layout, folder / layout.test, names)
    chosen = choose_classes(names[level], options.classes, range(len(names[level])))
    ancestors = None
    if level + 1 < len(names):
        above = _superclasses(train, names, folder)
        ancestors = tuple((above[position],) for position in chosen)

    def part(labels: Int64Array, sources: Sequence[str], what: str) -> Part:
        rows, renumbered = rows_of(labels[:, level], chosen)
        lacking = sorted(set(range(len(chosen))) - set(renumbered.tolist()))
        if lacking:
            name = names[level][chosen[lacking[0]]]
            raise UserError(
                f"class {name} has no {what} images in {folder}; download and unpack the archive "
                "again."
            )
        paths = [folder / source for source in sources]
        title = f"{folder.name}, {what} image"
        return Part(LoadedImages.of(paths, layout.load, rows, len(labels), title), renumbered)

    return Dataset(
        entry.id,
        tuple(names[level][position] for position in chosen),
        part(train, layout.train, "training"),
        part(test, (layout.test,), "test"),
        None,
        ancestors,
    )


def _find(entry: CatalogEntry, root: Path) -> tuple[_Layout, Path]:
    """The first complete layout and its folder; else UserError about the layout that was begun."""
    layouts = _LAYOUTS[entry.id]
    for layout in layouts:
        for folder in (root / layout.folder, root):
            if holds(*layout.needed)(folder):
                return layout, folder
    begun = [layout for layout in layouts if (root / layout.folder).is_dir()]
    layout = (begun or list(layouts))[0]
    return layout, dataset_folder(replace(entry, folder=layout.folder), root, layout.needed)


def _is_own_folder(dataset_id: str, folder: Path) -> bool:
    return any(holds(*layout.needed)(folder) for layout in _LAYOUTS[dataset_id])


def _names(path: Path, key: str) -> list[str]:
    names = files.pickled_names(path, key) if key else read_names(path)
    if len(names) < 2 or len(set(names)) < len(names):
        raise UserError(f"{path} does not list the class names: unpack the archive again.")
    return names


def _labels(layout: _Layout, path: Path, names: Sequence[Sequence[str]]) -> Int64Array:
    labels = layout.labels(path)
    for column, known in zip(labels.T, names, strict=True):
        if column.min() < 0 or column.max() >= len(known):
            raise UserError(
                f"{path}: labels go from {column.min()} to {column.max()}, but there are "
                f"{len(known)} classes; download and unpack the archive again."
            )
    return labels


def _superclasses(labels: Int64Array, names: Sequence[Sequence[str]], folder: Path) -> list[str]:
    """The name of each fine class's coarse class, from the labels of the training images."""
    fine, coarse = names
    above = np.full(len(fine), -1, dtype=np.int64)
    above[labels[:, 0]] = labels[:, 1]
    wrong = np.flatnonzero(above[labels[:, 0]] != labels[:, 1])
    if len(wrong):
        name = fine[int(labels[wrong[0], 0])]
        raise UserError(
            f"{folder}: the class {name} belongs to two coarse classes; download and unpack the "
            "archive again."
        )
    return [coarse[position] if position >= 0 else "" for position in above.tolist()]


_CITATION = (
    "A. Krizhevsky. Learning Multiple Layers of Features from Tiny Images. Technical report, "
    "University of Toronto, 2009."
)
_TERMS = "no licence is stated; the images are a subset of Tiny Images, which was withdrawn in 2020"

CIFAR10_ENTRY = CatalogEntry(
    id="cifar10",
    title="CIFAR-10",
    classes=10,
    reader=read_cifar10,
    description="60,000 photographs of 32 x 32 pixels, 10 classes numbered from 0; official "
    "split: 50,000 train, 10,000 test. The Python and the binary version are read.",
    citation=_CITATION,
    terms=_TERMS,
    homepage=f"{_SITE}/cifar.html",
    images={"train": 50_000, "test": 10_000},
    folder=_LAYOUTS["cifar10"][0].folder,
    other_folders=tuple(layout.folder for layout in _LAYOUTS["cifar10"][1:]),
    is_in=partial(_is_own_folder, "cifar10"),
    archives=(
        Archive(
            file="cifar-10-python.tar.gz",
            urls=(f"{_SITE}/cifar-10-python.tar.gz",),
            size_bytes=170_498_071,
            checksum="md5:c58f30108f718f92721af3b95e74349a",
        ),
    ),
    samples_per_class=5000.0,
)

CIFAR100_ENTRY = CatalogEntry(
    id="cifar100",
    title="CIFAR-100",
    classes=100,
    reader=read_cifar100,
    description="60,000 photographs of 32 x 32 pixels, 100 classes in 20 superclasses, both "
    "numbered from 0; official split: 50,000 train, 10,000 test. The Python and the binary "
    "version are read.",
    citation=_CITATION,
    terms=_TERMS,
    homepage=f"{_SITE}/cifar.html",
    images={"train": 50_000, "test": 10_000},
    folder=_LAYOUTS["cifar100"][0].folder,
    other_folders=tuple(layout.folder for layout in _LAYOUTS["cifar100"][1:]),
    is_in=partial(_is_own_folder, "cifar100"),
    archives=(
        Archive(
            file="cifar-100-python.tar.gz",
            urls=(f"{_SITE}/cifar-100-python.tar.gz",),
            size_bytes=169_001_437,
            checksum="md5:eb9058c3a382ffc7106e4002c42a8d85",
        ),
    ),
    samples_per_class=500.0,
    levels=_LEVELS,
)
