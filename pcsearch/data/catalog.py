"""The datasets by id: one entry each, and `open_dataset`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pcsearch.data.dataset import Dataset
from pcsearch.data.options import DataOptions
from pcsearch.data.readers import cub200, digits, fieldguide, folder
from pcsearch.errors import UserError, did_you_mean

__all__ = ["DATASETS", "CatalogEntry", "DataOptions", "open_dataset"]


@dataclass(frozen=True)
class CatalogEntry:
    """What is known about a dataset.

    Attributes:
        id: its name in recipes.
        title: its full name.
        classes: N, None where the person's data or options decide.
        reader: reads it, or raises UserError.
        description: what the images are, and how they are split.
        citation: the publication to cite, empty if there is none.
        terms: licence or terms of use.
        homepage: where to get it, empty if nothing is to be downloaded.
    """

    id: str
    title: str
    classes: int | None
    reader: Callable[[DataOptions], Dataset]
    description: str
    citation: str
    terms: str
    homepage: str


_ENTRIES = (
    CatalogEntry(
        id="digits",
        title="Optical recognition of handwritten digits",
        classes=10,
        reader=digits.read,
        description="1,797 scanned digits of 8 x 8 pixels, part of scikit-learn; test images "
        "are a fixed stratified 20 % (seed 0).",
        citation="E. Alpaydin, C. Kaynak. Optical Recognition of Handwritten Digits. UCI Machine "
        "Learning Repository, 1998. doi:10.24432/C50P49",
        terms="CC BY 4.0",
        homepage="",
    ),
    CatalogEntry(
        id="fieldguide",
        title="Procedural field guide",
        classes=None,
        reader=fieldguide.read,
        description="look-alike bird species drawn from a seed, each image with a box; the "
        "first 60 % of a species' images train, the others test.",
        citation="",
        terms="part of this package, under its licence",
        homepage="",
    ),
    CatalogEntry(
        id="cub200",
        title="Caltech-UCSD Birds-200-2011",
        classes=200,
        reader=cub200.read,
        description="11,788 photographs of 200 bird species with boxes; official split: 5,994 "
        "train, 5,794 test.",
        citation="C. Wah, S. Branson, P. Welinder, P. Perona, S. Belongie. The Caltech-UCSD "
        "Birds-200-2011 Dataset. Technical Report CNS-TR-2011-001, Caltech, 2011.",
        terms="non-commercial research and education; the photographs belong to their authors",
        homepage=cub200.HOMEPAGE,
    ),
    CatalogEntry(
        id="images",
        title="Your own images",
        classes=None,
        reader=folder.read,
        description="a folder with one sub-folder a class, optionally within train/, val/, "
        "test/; a stratified test part is held out where none is given.",
        citation="",
        terms="yours",
        homepage="",
    ),
)
DATASETS: dict[str, CatalogEntry] = {entry.id: entry for entry in _ENTRIES}


def open_dataset(dataset_id: str, options: DataOptions) -> Dataset:
    """The dataset of that id, listed but not decoded.

    Raises UserError for an unknown id and for whatever is wrong with the data on disk.
    """
    entry = DATASETS.get(dataset_id)
    if entry is None:
        raise UserError(
            f'unknown dataset "{dataset_id}"{did_you_mean(dataset_id, DATASETS)} '
            f"(known: {', '.join(DATASETS)})"
        )
    return entry.reader(options)
