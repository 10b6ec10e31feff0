"""The datasets by id, and `open_dataset`."""

from __future__ import annotations

from pcsearch.data.dataset import CatalogEntry, DataOptions, Dataset
from pcsearch.data.datasets import (
    aircraft,
    cars,
    cifar,
    cub200,
    digits,
    dogs,
    fieldguide,
    flowers102,
    folder,
    imagenet,
    imagenet_subsets,
    manifest,
    nabirds,
    svhn,
)
from pcsearch.data.layouts.official import level_of
from pcsearch.errors import UserError, did_you_mean

__all__ = ["DATASETS", "CatalogEntry", "DataOptions", "open_dataset"]

_ENTRIES = (
    digits.ENTRY,
    fieldguide.ENTRY,
    cub200.ENTRY,
    cars.ENTRY,
    aircraft.ENTRY,
    nabirds.ENTRY,
    flowers102.ENTRY,
    dogs.ENTRY,
    cifar.CIFAR10_ENTRY,
    cifar.CIFAR100_ENTRY,
    svhn.ENTRY,
    imagenet.ENTRY,
    imagenet_subsets.DOGS_ENTRY,
    imagenet_subsets.RANDOM_ENTRY,
    folder.ENTRY,
    manifest.ENTRY,
)
DATASETS: dict[str, CatalogEntry] = {entry.id: entry for entry in _ENTRIES}
"""Every dataset, in the order of `pcsearch data ls`."""


def open_dataset(dataset_id: str, options: DataOptions) -> Dataset:
    """The dataset `dataset_id`: its images are listed, not decoded.

    Only `DataOptions.near_duplicates` may decode thumbnails.

    Raises:
        UserError: the id is unknown, or the data on disk is wrong.
    """
    entry = DATASETS.get(dataset_id)
    if entry is None:
        raise UserError(
            f'unknown dataset "{dataset_id}"{did_you_mean(dataset_id, DATASETS)} '
            f"(known: {', '.join(DATASETS)})"
        )
    level_of(entry, options)  # refuses a level also for datasets without a hierarchy
    return entry.reader(options)
