"""Open and decode a recipe's datasets, and give a plan the facts it needs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from pcsearch.data.cache import BadImagesError
from pcsearch.data.catalog import open_dataset
from pcsearch.data.dataset import DataOptions, Dataset
from pcsearch.data.fieldguide.options import FieldguideOptions
from pcsearch.data.prepared import (
    ELSEWHERE,
    THUMBNAILS,
    TestImages,
    TrainingImages,
    bad_in_both,
    copies_in_test,
    prepare_test,
    prepare_training,
)
from pcsearch.data.preprocessing import Preprocessing
from pcsearch.data.splits import Split, split_for
from pcsearch.errors import UserError
from pcsearch.recipe.extend import trained_at
from pcsearch.recipe.problems import dotted
from pcsearch.recipe.schema import Recipe
from pcsearch.search.plan import DatasetFacts, ImageCounts
from pcsearch.search.verdicts.gain import pack_classes
from pcsearch.training.class_weights import check_class_weights

_Images = TypeVar("_Images", TrainingImages, TestImages)
PrepareProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class PreparedDataset:
    """A dataset's decoded images, and the facts that a plan needs."""

    facts: DatasetFacts
    training: TrainingImages
    test: TestImages | None


def data_options(recipe: Recipe, cache: Path | None = None) -> DataOptions:
    """The recipe's `data` section as options for `open_dataset`; see there for the cache."""
    data = recipe.data
    return DataOptions(
        root=Path(data.root),
        images=None if data.images is None else Path(data.images),
        manifest=None if data.manifest is None else Path(data.manifest),
        classes=None if data.classes == "all" else tuple(data.classes),
        test_fraction=data.test_fraction,
        split_seed=data.split_seed,
        near_duplicates=data.near_duplicates,
        cache=cache,
        levels=dict(data.levels),
        instance=data.instance,
        fieldguide=FieldguideOptions(**data.fieldguide.model_dump()),
    )


def preprocessing_for(recipe: Recipe, dataset: str) -> Preprocessing:
    """The recipe's crop, augmentation and normalisation for a dataset."""
    image = recipe.image_for(dataset)
    return Preprocessing(
        crop=image.crop,
        flip=image.flip,
        mean=image.mean,
        std=image.std,
        augment=image.augment(),
    )


def split_of(recipe: Recipe, training: TrainingImages, repeat: int) -> Split:
    """The train-validation split of one repeat, by the recipe's `data` section."""
    data = recipe.data
    asked = (data.val_fraction, data.split_seed, data.near_duplicates, repeat)
    if asked not in training.splits:
        split = split_for(
            training.labels,
            training.given_val,
            data.val_fraction,
            data.split_seed,
            repeat,
            training.class_names,
            groups=training.groups,
            twins=training.store.twins if data.near_duplicates == "together" else None,
        )
        training.splits[asked] = _named_after(split, training.held_out)
    return training.splits[asked]


def _named_after(split: Split, held_out: str) -> Split:
    """The split with a hash that also covers the held-out files, since labels alone do not."""
    if not held_out:
        return split
    digest = hashlib.sha256(f"{split.hash} {held_out}".encode()).hexdigest()
    return replace(split, hash=digest[:16])


def open_datasets(recipe: Recipe) -> dict[str, Dataset]:
    """Every dataset of the recipe by id, listed but not decoded and not searched for copies.

    This finds most mistakes with images: missing folders, wrong annotations, empty classes, and
    weights of classes that are not there.
    """
    options = replace(data_options(recipe), near_duplicates="ignore")
    opened = {name: open_dataset(name, options) for name in recipe.datasets}
    class_names = {name: dataset.class_names for name, dataset in opened.items()}
    for backbone in recipe.backbones:
        if isinstance(weights := recipe.train_for(backbone)["class_weights"], Mapping):
            key = dotted(trained_at(recipe, backbone, "class_weights"))
            check_class_weights(weights, class_names, key)
    return opened


def prepare_datasets(
    recipe: Recipe,
    datasets: Mapping[str, Dataset],
    cache: Path,
    progress: PrepareProgress,
    needs_test: bool = True,
) -> tuple[PreparedDataset, ...]:
    """Decode every dataset's images into the cache, before Ray is needed.

    Raises:
        UserError: files do not decode, a class cannot be split, the disk is full, or test images
            are missing.
    """
    return tuple(
        _prepared(
            recipe, _copies_together(recipe, dataset, cache, progress), cache, progress, needs_test
        )
        for dataset in datasets.values()
    )


def _copies_together(
    recipe: Recipe, dataset: Dataset, cache: Path, progress: PrepareProgress
) -> Dataset:
    """The dataset; a held-out test part is redrawn with all copies of an image on one side."""
    if not dataset.held_out or recipe.data.near_duplicates == "ignore":
        return dataset

    def show(done: int, total: int) -> None:
        progress(f"{dataset.id} {THUMBNAILS}", done, total)

    return open_dataset(dataset.id, replace(data_options(recipe, cache), progress=show))


def dataset_facts(
    recipe: Recipe, cache: Path, progress: PrepareProgress, needs_test: bool = True
) -> tuple[DatasetFacts, ...]:
    """Open and decode every dataset of a recipe; the facts that its plan needs."""
    prepared = prepare_datasets(recipe, open_datasets(recipe), cache, progress, needs_test)
    return tuple(dataset.facts for dataset in prepared)


def _prepared(
    recipe: Recipe, dataset: Dataset, cache: Path, progress: PrepareProgress, needs_test: bool
) -> PreparedDataset:
    name = dataset.id
    image, bad_images = recipe.image_for(name), recipe.data.on_bad_image

    def show(what: str) -> Callable[[int, int], None]:
        return lambda done, total: progress(f"{name} {what}", done, total)

    def decode(prepare: Callable[..., _Images], what: str) -> _Images:
        return prepare(
            dataset,
            image.resize,
            cache,
            bad_images,
            show(what),
            aspect=image.aspect,
            waiting=show(f"{what} {ELSEWHERE}"),
        )

    decode_test = partial(decode, prepare_test, "test images")
    try:
        training = decode(prepare_training, "training images")
    except BadImagesError as error:
        raise bad_in_both(error, decode_test) if needs_test and dataset.test else error from None
    split = split_of(recipe, training, 0)
    test, copies, bad = None, None, training.store.bad
    if needs_test:
        if dataset.test is None:
            raise UserError(
                f"{name}: confirm needs test images, and there are none; add a test part, or set "
                "confirm.seeds=0 to search only"
            )
        test = decode_test()
        bad = (*bad, *test.store.bad)
        copies = copies_in_test(training.store, test.store)
    twins = training.store.twins
    counts = ImageCounts(
        fit=len(split.fit),
        val=len(split.val),
        train=len(training.labels),
        test=0 if test is None else len(test.labels),
        skipped=len(bad),
        first_skipped=bad[0] if bad else None,
        test_copies=copies,
        val_copies=int(np.isin(twins[split.val], twins[split.fit]).sum()),
        majority=max(_majority(part.labels) for part in (training, test) if part is not None),
    )
    classes = None if test is None else pack_classes(test.labels)
    facts = DatasetFacts(name, dataset.num_classes, counts, split.hash, classes)
    return PreparedDataset(facts, training, test)


def _majority(labels: npt.NDArray[np.integer]) -> float:
    """Percent of the images in the most frequent class."""
    return 100.0 * int(np.bincount(labels).max()) / len(labels) if len(labels) else 0.0
