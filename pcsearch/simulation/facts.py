"""What a plan must know of its datasets, without decoding a single image.

A simulation needs counts alone. They come from a recorded run, from the files as they are listed,
or from the catalogue where the images are not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pcsearch.data.catalog import DATASETS
from pcsearch.data.dataset import Dataset
from pcsearch.errors import UserError
from pcsearch.recipe.schema import Recipe
from pcsearch.search.facts import data_options
from pcsearch.search.plan import DatasetFacts, ImageCounts, Plan

NO_SPLIT = "0" * 16


def counted(recipe: Recipe, recorded: Plan | None) -> tuple[tuple[DatasetFacts, ...], list[str]]:
    """The facts of each of a recipe's datasets, and a sentence where they are only official.

    Raises:
        UserError: a dataset is neither recorded, nor here, nor of a known size.
    """
    known = {s.dataset: s for s in recorded.studies} if recorded is not None else {}
    facts, notes = [], []
    options = replace(data_options(recipe), near_duplicates="ignore")  # they change no count
    for name in recipe.datasets:
        if name in known:
            study = known[name]
            facts.append(DatasetFacts(name, study.num_classes, study.images, study.split_hash))
            continue
        try:
            facts.append(_listed(recipe, DATASETS[name].reader(options)))
        except UserError as error:
            facts.append(_official(recipe, name, error))
            notes.append(f"{name} is not here; its official counts of images are used")
    return tuple(facts), notes


def _listed(recipe: Recipe, dataset: Dataset) -> DatasetFacts:
    given = None if dataset.given_val is None else len(dataset.given_val)
    test = 0 if dataset.test is None else len(dataset.test.labels)
    train = len(dataset.train.labels)
    return _facts(recipe, dataset.id, len(dataset.class_names), train, given, test)


def _official(recipe: Recipe, name: str, error: UserError) -> DatasetFacts:
    entry = DATASETS[name]
    counts: Mapping[str, int] = entry.images
    chosen = recipe.data.classes
    if entry.classes is None or "train" not in counts:
        raise error
    classes = entry.classes if chosen == "all" else len(chosen)
    share = classes / entry.classes
    given = round(counts["val"] * share) if "val" in counts else None
    train = round(counts["train"] * share) + (given or 0)
    return _facts(recipe, name, classes, train, given, round(counts.get("test", 0) * share))


def _facts(
    recipe: Recipe, name: str, classes: int, train: int, given_val: int | None, test: int
) -> DatasetFacts:
    val = round(train * recipe.data.val_fraction) if given_val is None else given_val
    images = ImageCounts(fit=train - val, val=val, train=train, test=test)
    return DatasetFacts(name, classes, images, NO_SPLIT)
