"""What the trials of a process share, opened once: recipe, datasets, decoded images."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from pcsearch.data.catalog import open_dataset
from pcsearch.data.dataset import Dataset
from pcsearch.data.prepared import TestImages, TrainingImages, prepare_test, prepare_training
from pcsearch.recipe.load import parse_recipe
from pcsearch.recipe.schema import Recipe
from pcsearch.search.facts import data_options


@lru_cache(maxsize=4)
def stated_recipe(text: str) -> Recipe:
    """The resolved recipe, from its YAML text."""
    return parse_recipe(text)


@lru_cache(maxsize=8)
def training_images(recipe: str, dataset: str, cache: str) -> TrainingImages:
    """The decoded training images of one of the recipe's datasets."""
    settings = stated_recipe(recipe)
    return prepare_training(
        _dataset(recipe, dataset),
        settings.image_for(dataset).resize,
        folder=Path(cache),
        on_bad_image=settings.data.on_bad_image,
    )


@lru_cache(maxsize=8)
def test_images(recipe: str, dataset: str, cache: str) -> TestImages:
    """The decoded test images. Confirm trials ask for them after their last epoch, nobody else."""
    settings = stated_recipe(recipe)
    return prepare_test(
        _dataset(recipe, dataset),
        settings.image_for(dataset).resize,
        folder=Path(cache),
        on_bad_image=settings.data.on_bad_image,
    )


@lru_cache(maxsize=8)
def _dataset(recipe: str, dataset: str) -> Dataset:
    return open_dataset(dataset, data_options(stated_recipe(recipe)))
