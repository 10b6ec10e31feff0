"""Labels of prepared images in a small file, so that a worker opens them without the dataset.

Opening a dataset means to list its files and to parse its annotations, again in every worker; a
file of labels and the name of the decoded images are all that training needs. The images lie in
the node's own cache, hence the name of a store and no path.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pcsearch.data.cache import open_store
from pcsearch.data.prepared import TestImages, TrainingImages


def save_training(path: Path, training: TrainingImages) -> None:
    """Write what `load_training` needs."""
    arrays = {
        "store": np.array(training.store.path.name),
        "labels": training.labels,
        "class_names": np.array(training.class_names),
    }
    for name in ("given_val", "groups"):
        if (array := getattr(training, name)) is not None:
            arrays[name] = array
    np.savez_compressed(path, allow_pickle=False, **arrays)


def load_training(path: Path, cache: Path) -> TrainingImages | None:
    """The training images of that file; None where this node's cache does not hold them."""
    with np.load(path, allow_pickle=False) as file:
        store = open_store(cache / str(file["store"]))
        if store is None:
            return None
        return TrainingImages(
            store,
            file["labels"],
            file.get("given_val"),
            file.get("groups"),
            tuple(file["class_names"].tolist()),
        )


def save_test(path: Path, test: TestImages) -> None:
    """Write what `load_test` needs."""
    np.savez_compressed(
        path, allow_pickle=False, store=np.array(test.store.path.name), labels=test.labels
    )


def load_test(path: Path, cache: Path) -> TestImages | None:
    """The test images of that file; None where this node's cache does not hold them."""
    with np.load(path, allow_pickle=False) as file:
        store = open_store(cache / str(file["store"]))
        return None if store is None else TestImages(store, file["labels"])
