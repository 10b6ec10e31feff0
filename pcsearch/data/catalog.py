"""The datasets by id, and `open_dataset`."""

from __future__ import annotations

from pcsearch.data.dataset import Dataset
from pcsearch.data.entry import CatalogEntry
from pcsearch.data.options import DataOptions
from pcsearch.data.readers import cub200, digits, fieldguide, folder
from pcsearch.errors import UserError, did_you_mean

__all__ = ["DATASETS", "CatalogEntry", "DataOptions", "open_dataset"]

_READERS = (digits, fieldguide, cub200, folder)
DATASETS: dict[str, CatalogEntry] = {reader.ENTRY.id: reader.ENTRY for reader in _READERS}
"""Every dataset, in the order in which they are listed."""


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
