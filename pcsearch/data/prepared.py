"""A dataset's images, decoded once and aligned with their labels; copies among test images.

Two separate functions prepare training and test images, on purpose. Code that chooses
hyperparameters calls only the first, and the first never touches the test part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pcsearch.data.cache import (
    Aspect,
    BadImagesError,
    ImageStore,
    OnBadImage,
    Progress,
    ensure_store,
    fingerprints_of,
)
from pcsearch.data.dataset import Dataset, Int64Array, Part
from pcsearch.data.duplicates import near_duplicates
from pcsearch.data.sources import LoadedImages, image_names
from pcsearch.data.splits import Split
from pcsearch.errors import UserError

COMPARED_AT_MOST = 100_000
"""Most images, of both parts together, that are compared here; `pcsearch data verify` has no limit.
"""


def copies_in_test(training: ImageStore, test: ImageStore) -> int | None:
    """How many test images are near-duplicates of a training image.

    None if there are too many to compare at every start, or if their fingerprints are damaged.
    """
    trained_on = len(training.kept)
    if trained_on + len(test.kept) > COMPARED_AT_MOST:
        return None
    prints = fingerprints_of(training), fingerprints_of(test)
    if prints[0] is None or prints[1] is None:
        return None
    clusters = near_duplicates(np.concatenate([prints[0], prints[1]]))
    return int((clusters[trained_on:] < trained_on).sum())


ELSEWHERE = "(another process decodes them)"
"""Added to the name of images in the progress display while another process decodes them."""

THUMBNAILS = "thumbnails, to find copies"
"""Name in the progress display of the images compared before a test part is held out."""


@dataclass(frozen=True)
class TrainingImages:
    """The training images (and given validation images) of a dataset.

    Attributes:
        store: m decoded images.
        labels: [m] their classes.
        given_val: rows of the dataset's own validation images, or None.
        groups: [m] the dataset's groups, or None; see `Part`.
        class_names: N names.
        held_out: see `Dataset`.
        splits: a cache of the splits made so far, for a worker's next trial.
    """

    store: ImageStore
    labels: Int64Array
    given_val: Int64Array | None
    groups: Int64Array | None
    class_names: tuple[str, ...]
    held_out: str = ""
    splits: dict[tuple[object, ...], Split] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True)
class TestImages:
    """The test images of a dataset.

    Attributes:
        store: m decoded images.
        labels: [m] their classes.
        held_out: see `Dataset`.
        names: m names; empty if a file of labels does not have them.
    """

    __test__ = False  # tells pytest that this is no test case

    store: ImageStore
    labels: Int64Array
    held_out: str = ""
    names: tuple[str, ...] = ()


def prepare_training(
    dataset: Dataset,
    resize: int,
    folder: Path,
    on_bad_image: OnBadImage = "fail",
    progress: Progress | None = None,
    *,
    aspect: Aspect = "warp",
    waiting: Progress | None = None,
) -> TrainingImages:
    """Decode the training images (see `ensure_store` for arguments and errors)."""
    part = dataset.train
    store = _decoded(part, resize, aspect, folder, on_bad_image, progress, waiting)
    given_val = dataset.given_val
    if given_val is not None:
        given_val = np.flatnonzero(np.isin(store.kept, given_val)).astype(np.int64)
    groups = None if part.groups is None else part.groups[store.kept]
    labels, names = part.labels[store.kept], dataset.class_names
    return TrainingImages(store, labels, given_val, groups, names, dataset.held_out)


def prepare_test(
    dataset: Dataset,
    resize: int,
    folder: Path,
    on_bad_image: OnBadImage = "fail",
    progress: Progress | None = None,
    *,
    aspect: Aspect = "warp",
    waiting: Progress | None = None,
) -> TestImages:
    """Decode the test images (see `ensure_store` for arguments and errors).

    Raises:
        UserError: also if there are none, or if `skip` left a class without any.
    """
    part = dataset.test
    if part is None:
        raise UserError(f"dataset {dataset.id} has no test images.")
    store = _decoded(part, resize, aspect, folder, on_bad_image, progress, waiting)
    labels = part.labels[store.kept]
    lost = sorted(set(part.labels.tolist()) - set(labels.tolist()))
    if lost:
        names = ", ".join(dataset.class_names[label] for label in lost[:10])
        raise UserError(f"no test image of these classes can be read: {names}. Repair or add some.")
    return TestImages(store, labels, dataset.held_out, image_names(part.images, store.kept))


def bad_in_both(error: BadImagesError, test: Callable[[], object]) -> BadImagesError:
    """The error of the training images, with that of the test images if there is one.

    So that both are repaired before the next attempt.

    Args:
        error: of `prepare_training`.
        test: calls `prepare_test`.
    """
    try:
        test()
    except BadImagesError as other:
        return BadImagesError(f"{error}\n{other}")
    return error


def _decoded(
    part: Part,
    resize: int,
    aspect: Aspect,
    folder: Path,
    on_bad_image: OnBadImage,
    progress: Progress | None,
    waiting: Progress | None,
) -> ImageStore:
    store = ensure_store(
        part.images,
        resize,
        aspect=aspect,
        folder=folder,
        on_bad_image=on_bad_image,
        progress=progress,
        waiting=waiting,
    )
    if isinstance(part.images, LoadedImages):
        part.images.drop()  # from here on they are mapped from the store and shared
    return store
