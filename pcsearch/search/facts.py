"""From a recipe to its datasets: open them, decode them once, and say what a plan must know."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pcsearch.data.catalog import open_dataset
from pcsearch.data.fieldguide.options import FieldguideOptions
from pcsearch.data.options import DataOptions
from pcsearch.data.prepared import prepare_test, prepare_training
from pcsearch.data.preprocessing import Preprocessing
from pcsearch.data.splits import split_for
from pcsearch.errors import UserError
from pcsearch.recipe.schema import Recipe
from pcsearch.search.plan import DatasetFacts, ImageCounts

Progress = Callable[[str, int, int], None]


def data_options(recipe: Recipe) -> DataOptions:
    """What the recipe says of its datasets, for `open_dataset`."""
    data = recipe.data
    return DataOptions(
        root=Path(data.root),
        images=None if data.images is None else Path(data.images),
        classes=None if data.classes == "all" else tuple(data.classes),
        test_fraction=data.test_fraction,
        split_seed=data.split_seed,
        fieldguide=FieldguideOptions(**data.fieldguide.model_dump()),
    )


def preprocessing_for(recipe: Recipe, dataset: str) -> Preprocessing:
    """The recipe's crop, flip and normalisation for a dataset."""
    image = recipe.image_for(dataset)
    return Preprocessing(crop=image.crop, flip=image.flip, mean=image.mean, std=image.std)


def dataset_facts(
    recipe: Recipe, cache: Path, progress: Progress, needs_test: bool = True
) -> tuple[DatasetFacts, ...]:
    """Open every dataset of a recipe and decode its images into the cache.

    All of a user's mistakes with images show up here, before anything is started: missing folders,
    classes that cannot be split, files that do not decode.
    """
    return tuple(_facts(recipe, name, cache, progress, needs_test) for name in recipe.datasets)


def _facts(
    recipe: Recipe, name: str, cache: Path, progress: Progress, needs_test: bool
) -> DatasetFacts:
    dataset = open_dataset(name, data_options(recipe))
    image, data = recipe.image_for(name), recipe.data

    def show(part: str) -> Callable[[int, int], None]:
        return lambda done, total: progress(f"{name} {part} images", done, total)

    training = prepare_training(
        dataset,
        image.resize,
        folder=cache,
        on_bad_image=data.on_bad_image,
        progress=show("training"),
    )
    split = split_for(
        training.labels,
        training.given_val,
        data.val_fraction,
        data.split_seed,
        0,
        training.class_names,
    )
    tested, bad = 0, training.store.bad
    if needs_test:
        if dataset.test is None:
            raise UserError(
                f"{name}: there are no test images to confirm on; add a test part, or set "
                "confirm.seeds=0 to search only"
            )
        test = prepare_test(
            dataset,
            image.resize,
            folder=cache,
            on_bad_image=data.on_bad_image,
            progress=show("test"),
        )
        tested, bad = len(test.labels), (*bad, *test.store.bad)
    counts = ImageCounts(
        fit=len(split.fit),
        val=len(split.val),
        train=len(training.labels),
        test=tested,
        skipped=len(bad),
        first_skipped=bad[0] if bad else None,
    )
    return DatasetFacts(name, dataset.num_classes, counts, split.hash)
