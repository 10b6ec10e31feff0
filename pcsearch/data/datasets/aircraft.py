"""FGVC-Aircraft (2013b), in the layout of its archive."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pcsearch.data.dataset import Archive, CatalogEntry, DataOptions, Dataset, Int64Array
from pcsearch.data.layouts.official import (
    Listing,
    assemble,
    boxes_of_corners,
    dataset_folder,
    holds,
    level_of,
)
from pcsearch.data.layouts.text_tables import read_boxes, read_names, read_table
from pcsearch.errors import UserError

_NAMES_OF = {
    "variant": "variants.txt",
    "family": "families.txt",
    "manufacturer": "manufacturers.txt",
}
_LEVELS = tuple(_NAMES_OF)
_TRAIN, _TEST = "trainval", "test"
_NEEDED = (
    *(f"data/{file}" for file in _NAMES_OF.values()),
    *(f"data/images_{level}_{part}.txt" for level in _LEVELS for part in (_TRAIN, _TEST)),
    "data/images_box.txt",
    "data/images/",
)


def read(options: DataOptions) -> Dataset:
    """The official images, split, labels and boxes, at the level in `options.levels`.

    The training part is the archive's `trainval`. Its halves `train` and `val` are not separated:
    the protocol chooses λ on an 80-20 split of both. A class's `ancestors` are its names at the
    coarser levels. The images keep their bottom line, 20 pixels high, with the photographer's name.

    Raises:
        UserError: files are missing or disagree, or `data.classes` or `data.levels` is wrong.
    """
    level = level_of(ENTRY, options)
    folder = dataset_folder(ENTRY, options.root, _NEEDED)
    data = folder / "data"
    class_names = read_names(data / _NAMES_OF[level])

    def part(name: str) -> Listing:
        class_of = read_table(_table(data, level, name))
        corners = read_boxes(data / "images_box.txt", class_of, "xmin, ymin, xmax, ymax")
        return Listing(
            [f"data/images/{image}.jpg" for image in class_of],
            _labels(data, level, class_of, class_names),
            boxes_of_corners(corners.astype(np.int64)),
        )

    parents = [_parents(data, level, coarser) for coarser in _LEVELS[_LEVELS.index(level) + 1 :]]
    return assemble(
        ENTRY.id,
        folder,
        class_names,
        part(_TRAIN),
        part(_TEST),
        options,
        ancestors=[tuple(parent.get(name, "") for parent in parents) for name in class_names]
        if parents
        else None,
    )


def _table(data: Path, level: str, part: str) -> Path:
    return data / f"images_{level}_{part}.txt"


def _labels(data: Path, level: str, class_of: dict[str, str], class_names: list[str]) -> Int64Array:
    positions = {name: position for position, name in enumerate(class_names)}
    unknown = sorted(set(class_of.values()) - set(positions))
    if unknown:
        raise UserError(
            f"{data / _NAMES_OF[level]} does not name the {level} {unknown[0]!r}; unpack the "
            "dataset again."
        )
    return np.array([positions[name] for name in class_of.values()], dtype=np.int64)


def _parents(data: Path, level: str, coarser: str) -> dict[str, str]:
    """The name of each class at a coarser level, from the labels of the images."""
    parents: dict[str, str] = {}
    for part in (_TRAIN, _TEST):
        class_of = read_table(_table(data, level, part))
        parent_of = read_table(_table(data, coarser, part), keys=class_of)
        parents.update({class_of[image]: parent_of[image] for image in class_of})
    return parents


ENTRY = CatalogEntry(
    id="aircraft",
    title="FGVC-Aircraft",
    classes=100,
    reader=read,
    description="10,000 photographs of 100 aircraft variants (or 70 families, or 30 "
    "manufacturers) with boxes; official split: 6,667 train (train and val together; λ is chosen "
    "on an 80-20 split of them), 3,333 test.",
    citation="S. Maji, J. Kannala, E. Rahtu, M. Blaschko, A. Vedaldi. Fine-Grained Visual "
    "Classification of Aircraft. arXiv:1306.5151, 2013.",
    terms="non-commercial research only; the photographs belong to their authors",
    homepage="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/",
    images={"train": 6667, "test": 3333},
    folder="fgvc-aircraft-2013b",
    is_in=holds(*_NEEDED),
    archives=(
        Archive(
            file="fgvc-aircraft-2013b.tar.gz",
            urls=(
                "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/"
                "fgvc-aircraft-2013b.tar.gz",
            ),
            size_bytes=2_753_340_328,
            checksum="md5:d4acdd33327262359767eeaa97a4f732",
        ),
    ),
    samples_per_class=100,
    levels=_LEVELS,
)
