"""What the trials of a process share, opened once: recipe, labels, decoded images."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from pcsearch.data.cache.files import MappedFile
from pcsearch.data.catalog import open_dataset
from pcsearch.data.dataset import Dataset
from pcsearch.data.labels_file import (
    load_test,
    load_training,
    not_as_saved,
    save_test,
    save_training,
)
from pcsearch.data.prepared import TestImages, TrainingImages, prepare_test, prepare_training
from pcsearch.errors import NodeError, UserError
from pcsearch.execution.preflight.datasets import PreparedDataset, data_options
from pcsearch.recipe.load import parse_recipe
from pcsearch.recipe.schema import Recipe


@dataclass(frozen=True)
class WorkerContext:
    """What every trial of a campaign needs besides its specification.

    Attributes:
        recipe: The resolved recipe, as YAML.
        cache: Folder of decoded images on this node.
        data: Folder of the files with labels that the driver handed over.
        checkpoints: Folder for checkpoints, a folder a trial in it.
        weights: Folder for the weights that are kept.
        cpus: Threads a trial may use.
        gpus: GPUs a trial was given, 0 for the CPU.
        split_hashes: Study id → hash of its train-validation split: a worker that finds other
            counts or labels than were planned with must not train on them.
        import_path: The driver's folder, where a backbone of the user's own (`module:function`)
            is imported from.
        allowed_code: Modules that may be imported for such a backbone.
        version: The driver's pcsearch: a node with another one would train by other code. None is
            not compared.
        code: A hash of the files of pcsearch and of each such module, as the driver found them: a
            worker that finds others must not train by them.
        remote: The address of the run where it lies in an object store; the three folders are not
            used then.
    """

    recipe: str
    cache: str
    data: str
    checkpoints: str
    weights: str
    cpus: int
    gpus: float
    split_hashes: dict[str, str]
    import_path: str
    allowed_code: tuple[str, ...] = ()
    version: str | None = None
    code: dict[str, str] = field(default_factory=dict)
    remote: str | None = None


@lru_cache(maxsize=4)
def load_recipe_cached(text: str) -> Recipe:
    """The resolved recipe, from its YAML text."""
    return parse_recipe(text)


def publish_labels(prepared: PreparedDataset, folder: Path) -> None:
    """Leave labels and the names of decoded images in `folder`, for the workers to open."""
    save_training(_training_file(folder, prepared.facts.dataset), prepared.training)
    if prepared.test is not None:
        save_test(_test_file(folder, prepared.facts.dataset), prepared.test)


def training_images(recipe: str, dataset: str, cache: str, folder: str) -> TrainingImages:
    """The decoded training images of one of the recipe's datasets.

    As handed over in `folder`, or from the dataset itself on a node that has not decoded it yet;
    opened anew where they changed on disk.
    """
    images, file = _training_images(recipe, dataset, cache, folder)
    if file.changed:
        _training_images.cache_clear()
        images, _ = _training_images(recipe, dataset, cache, folder)
    return images


def test_images(recipe: str, dataset: str, cache: str, folder: str) -> TestImages:
    """The decoded test images. Confirm trials ask for them after their last epoch, nobody else.

    Raises NodeError where this node has others than the campaign was planned with.
    """
    images, file = _test_images(recipe, dataset, cache, folder)
    if file.changed:
        _test_images.cache_clear()
        images, _ = _test_images(recipe, dataset, cache, folder)
    return images


@lru_cache(maxsize=8)
def _training_images(
    recipe: str, dataset: str, cache: str, folder: str
) -> tuple[TrainingImages, MappedFile]:
    training = load_training(_training_file(Path(folder), dataset), Path(cache))
    if training is None:
        settings = load_recipe_cached(recipe)
        image = settings.image_for(dataset)
        training = prepare_training(
            _dataset(recipe, dataset, cache),
            image.resize,
            Path(cache),
            settings.data.on_bad_image,
            aspect=image.aspect,
        )
    return training, MappedFile(training.store.images)


@lru_cache(maxsize=8)
def _test_images(
    recipe: str, dataset: str, cache: str, folder: str
) -> tuple[TestImages, MappedFile]:
    file = _test_file(Path(folder), dataset)
    test = load_test(file, Path(cache))
    if test is None:
        settings = load_recipe_cached(recipe)
        image = settings.image_for(dataset)
        test = prepare_test(
            _dataset(recipe, dataset, cache),
            image.resize,
            Path(cache),
            settings.data.on_bad_image,
            aspect=image.aspect,
        )
        if not_as_saved(file, test):
            raise NodeError(
                f"the test images of {dataset} differ from those the campaign was planned with; "
                "were files added, removed or damaged, or does this node hold another copy?"
            )
    return test, MappedFile(test.store.images)


@lru_cache(maxsize=8)
def _dataset(recipe: str, dataset: str, cache: str) -> Dataset:
    """The dataset itself; NodeError where it is not here, as it was where the campaign began."""
    try:
        return open_dataset(dataset, data_options(load_recipe_cached(recipe), Path(cache)))
    except UserError as error:
        raise NodeError(
            f"this node cannot open the dataset {dataset}: {error}; it must lie under the same "
            "path on every node"
        ) from error


def _training_file(folder: Path, dataset: str) -> Path:
    return folder / f"{dataset}.train.npz"


def _test_file(folder: Path, dataset: str) -> Path:
    return folder / f"{dataset}.test.npz"
