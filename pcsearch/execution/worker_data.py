"""What the trials of a process share: recipe, labels and decoded images, opened once."""

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
        data: Folder of the driver's files with labels.
        checkpoints: Folder of the trials' checkpoint folders.
        weights: Folder of the weights that are kept.
        cpus: Threads per trial.
        gpus: GPUs per trial, 0 for the CPU.
        split_hashes: Study id → hash of its train-validation split. A worker with other counts or
            labels must not train.
        import_path: The driver's folder, from which the user's own backbones (`module:function`)
            are imported.
        allowed_code: Modules that may be imported for such backbones.
        version: The driver's version of pcsearch, which a node must share; None skips the check.
        code: Hashes of the driver's files of pcsearch and of each such module. A worker with other
            files must not train.
        bfloat16: Studies whose trials train in bfloat16 on CPUs (see `preflight/precision.py`).
        remote: The address of a run in an object store; `data`, `checkpoints` and `weights` are
            unused then.
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
    bfloat16: tuple[str, ...] = ()
    remote: str | None = None


@lru_cache(maxsize=4)
def load_recipe_cached(text: str) -> Recipe:
    """The resolved recipe, from its YAML text."""
    return parse_recipe(text)


def publish_labels(prepared: PreparedDataset, folder: Path) -> None:
    """Write labels and the names of decoded images to `folder`, for the workers."""
    save_training(_training_file(folder, prepared.facts.dataset), prepared.training)
    if prepared.test is not None:
        save_test(_test_file(folder, prepared.facts.dataset), prepared.test)


def training_images(recipe: str, dataset: str, cache: str, folder: str) -> TrainingImages:
    """The decoded training images of one of the recipe's datasets.

    Opened by the files in `folder`, or decoded from the dataset if this node has not done so yet.
    Reopened if they changed on disk.
    """
    images, file = _training_images(recipe, dataset, cache, folder)
    if file.changed:
        _training_images.cache_clear()
        images, _ = _training_images(recipe, dataset, cache, folder)
    return images


def test_images(recipe: str, dataset: str, cache: str, folder: str) -> TestImages:
    """The decoded test images. Only confirm trials open them, after their last epoch.

    Raises:
        NodeError: this node's test images differ from those of the campaign's plan.
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
                f"the test images of {dataset} differ from those of the campaign's plan; check "
                "whether files were added, removed or damaged, or this node has another copy"
            )
    return test, MappedFile(test.store.images)


@lru_cache(maxsize=8)
def _dataset(recipe: str, dataset: str, cache: str) -> Dataset:
    """The dataset; NodeError if this node cannot open it, since the driver could."""
    try:
        return open_dataset(dataset, data_options(load_recipe_cached(recipe), Path(cache)))
    except UserError as error:
        raise NodeError(
            f"this node cannot open the dataset {dataset}: {error}; it must be under the same path "
            "on every node"
        ) from error


def _training_file(folder: Path, dataset: str) -> Path:
    return folder / f"{dataset}.train.npz"


def _test_file(folder: Path, dataset: str) -> Path:
    return folder / f"{dataset}.test.npz"
