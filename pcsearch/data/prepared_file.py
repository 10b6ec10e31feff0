"""Labels of prepared images in a small file, so that a worker opens them without the dataset.

Opening a dataset means to list its files and to parse its annotations, again in every worker; a
file of labels and the name of the decoded images are all that training needs. The images lie in
the node's own cache, hence the name of a store and no path.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pcsearch.data.cache import ImageStore, open_store
from pcsearch.data.labels_archive import HELD_OUT, HOLDS, Archive, Arrays
from pcsearch.data.prepared import TestImages, TrainingImages
from pcsearch.regular_files import create_anew

_FURTHER_ROWS = 2**24
"""How many more images than this node another one may have read, for them to be compared."""


def save_training(path: Path, training: TrainingImages) -> None:
    """Write what `load_training` needs."""
    arrays = {"labels": training.labels, "class_names": np.array(training.class_names)}
    for name in ("given_val", "groups"):
        if (array := getattr(training, name)) is not None:
            arrays[name] = array
    _save(path, training.store, training.held_out, arrays)


def load_training(path: Path, cache: Path) -> TrainingImages | None:
    """The training images of that file.

    None where the file is missing or damaged, and where this node's cache does not hold the same
    images: all of them, without those that could not be read when the labels were written.
    """
    found = _read(path, cache)
    if found is None or "class_names" not in found[1]:
        return None
    store, arrays, held_out = found
    return TrainingImages(
        store,
        arrays["labels"],
        arrays.get("given_val"),
        arrays.get("groups"),
        tuple(arrays["class_names"].tolist()),
        held_out,
    )


def save_test(path: Path, test: TestImages) -> None:
    """Write what `load_test` needs."""
    _save(path, test.store, test.held_out, {"labels": test.labels})


def load_test(path: Path, cache: Path) -> TestImages | None:
    """The test images of that file; None as for `load_training`."""
    found = _read(path, cache)
    return None if found is None else TestImages(found[0], found[1]["labels"], found[2])


def not_as_saved(path: Path, test: TestImages) -> bool:
    """Whether that file tells of other test images than these; no, if it cannot be read."""
    try:
        with Archive(path) as archive:
            arrays = archive.arrays(len(test.labels) + _FURTHER_ROWS)
            held_out = archive.held_out()
    except Exception:  # as in `_read`
        return False
    return not (
        held_out == test.held_out
        and np.array_equal(arrays["kept"], test.store.kept)
        and np.array_equal(arrays["labels"], test.labels)
    )


def _save(path: Path, store: ImageStore, held_out: str, arrays: Arrays) -> None:
    unfinished = path.with_name(path.name + ".tmp")
    with create_anew(unfinished) as file:
        named = {"store": np.array(store.path.name), "kept": store.kept, **arrays}
        if held_out:
            named[HELD_OUT] = np.array(held_out)
        named[HOLDS] = np.array(list(named))
        np.savez_compressed(file, allow_pickle=False, **named)
    unfinished.replace(path)


def _read(path: Path, cache: Path) -> tuple[ImageStore, Arrays, str] | None:
    """The store, the arrays beside it, and what is held out.

    A node may fail to read other images than the driver did: its rows are others then.
    """
    try:
        with Archive(path) as archive:
            store = open_store(cache / archive.store_name())
            arrays = None if store is None else archive.arrays(len(store.kept))
            held_out = archive.held_out()
    except Exception:  # zipfile and numpy raise a dozen kinds for a file that is not what it was
        return None
    if store is None or arrays is None or not np.array_equal(store.kept, arrays["kept"]):
        return None
    return store, arrays, held_out
