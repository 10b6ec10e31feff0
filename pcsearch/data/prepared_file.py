"""Labels of prepared images in a small file, so that a worker opens them without the dataset.

Opening a dataset means to list its files and to parse its annotations, again in every worker; a
file of labels and the name of the decoded images are all that training needs. The images lie in
the node's own cache, hence the name of a store and no path.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pcsearch.data.cache import ImageStore, open_store
from pcsearch.data.prepared import TestImages, TrainingImages

_Arrays = dict[str, npt.NDArray[Any]]
# what numpy and zipfile raise for files that were cut short or damaged
_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


def save_training(path: Path, training: TrainingImages) -> None:
    """Write what `load_training` needs."""
    arrays = {"labels": training.labels, "class_names": np.array(training.class_names)}
    for name in ("given_val", "groups"):
        if (array := getattr(training, name)) is not None:
            arrays[name] = array
    _save(path, training.store, arrays)


def load_training(path: Path, cache: Path) -> TrainingImages | None:
    """The training images of that file.

    None where the file is missing or damaged, and where this node's cache does not hold the same
    images: all of them, without those that could not be read when the labels were written.
    """
    arrays = _read(path, "store", "kept", "labels", "class_names")
    store = None if arrays is None else _same_store(arrays, cache)
    if arrays is None or store is None:
        return None
    return TrainingImages(
        store,
        arrays["labels"],
        arrays.get("given_val"),
        arrays.get("groups"),
        tuple(arrays["class_names"].tolist()),
    )


def save_test(path: Path, test: TestImages) -> None:
    """Write what `load_test` needs."""
    _save(path, test.store, {"labels": test.labels})


def load_test(path: Path, cache: Path) -> TestImages | None:
    """The test images of that file; None as for `load_training`."""
    arrays = _read(path, "store", "kept", "labels")
    store = None if arrays is None else _same_store(arrays, cache)
    return None if arrays is None or store is None else TestImages(store, arrays["labels"])


def not_as_saved(path: Path, test: TestImages) -> bool:
    """Whether that file tells of other test images than these; no, if it cannot be read."""
    arrays = _read(path, "kept", "labels")
    return arrays is not None and not (
        np.array_equal(arrays["kept"], test.store.kept)
        and np.array_equal(arrays["labels"], test.labels)
    )


def _save(path: Path, store: ImageStore, arrays: _Arrays) -> None:
    unfinished = path.with_name(path.name + ".tmp")
    with unfinished.open("wb") as file:
        named = {"store": np.array(store.path.name), "kept": store.kept, **arrays}
        np.savez_compressed(file, allow_pickle=False, **named)
    unfinished.replace(path)


def _read(path: Path, *needed: str) -> _Arrays | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except _UNREADABLE:
        return None
    return arrays if arrays.keys() >= set(needed) else None


def _same_store(arrays: _Arrays, cache: Path) -> ImageStore | None:
    """A node may fail to read other images than the driver did: its rows are others then."""
    store = open_store(cache / str(arrays["store"]))
    return store if store is not None and np.array_equal(store.kept, arrays["kept"]) else None
