"""One trial from its specification to its epochs: data, network, training, test.

Runs in a worker and does not use Ray. Iterate over `run_trial`, and close it to stop. Decoded
images and class names, which trials share, are opened once per process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from pcsearch.data.dataset import Int64Array
from pcsearch.data.loaders import EpochBatches, EvalBatches, FeatureEvalBatches, TrainBatches
from pcsearch.data.prepared import TrainingImages
from pcsearch.errors import NodeError
from pcsearch.execution.frozen_body import EVAL_BATCH, FrozenStudy, Images, frozen_study
from pcsearch.execution.keep_predictions import keep_predictions
from pcsearch.execution.preflight.datasets import preprocessing_for, split_of
from pcsearch.execution.run_files import RunFiles, run_files, why_unwritten
from pcsearch.execution.worker_data import (
    WorkerContext,
    load_recipe_cached,
    test_images,
    training_images,
)
from pcsearch.models.registry import Backbone, build_backbone, published_weights
from pcsearch.recipe.schema import Recipe
from pcsearch.search.plan import OWN_LOSS
from pcsearch.search.trial import TrialSpec, weights_file
from pcsearch.training.checkpoints import Checkpoints
from pcsearch.training.class_weights import with_class_weights
from pcsearch.training.config import OwnLoss, TrainConfig, with_precision
from pcsearch.training.evaluate import Answers, Evaluation, evaluate, evaluate_and_keep
from pcsearch.training.export import save_weights
from pcsearch.training.failures import explain_failures
from pcsearch.training.memory import tune_malloc
from pcsearch.training.metrics import EpochRecord
from pcsearch.training.trainer import fit

__all__ = ["EVAL_BATCH", "TrialReport", "WorkerContext", "fit_batches", "run_trial", "train_config"]


@dataclass(frozen=True)
class TrialReport:
    """One epoch, as reported to the campaign.

    Attributes:
        epoch: 1-based.
        value: The metric that decides, in percent; None without validation.
        seconds: Time of training, validation and test.
        metrics: All other measurements.
        test: Metrics on the test images; only in the last epoch of a confirm trial.
        hits: Which test images were classified correctly: packed bits in base64, in the images'
            order.
        replayed: Whether the epoch comes from a checkpoint instead of new training.
        saved: Whether a checkpoint holds the epoch.
        checkpoint_error: Why the last checkpoint could not be written; None if it was.
        weights_error: Why the weights could not be written; None if they were, or were not asked.
        predictions: The `sha256` of their file, or the `error` of writing it; only in the last
            epoch of a finalist or confirm trial.
    """

    epoch: int
    value: float | None
    seconds: float
    metrics: dict[str, float]
    test: dict[str, float] | None = None
    hits: str | None = None
    replayed: bool = False
    saved: bool = False
    checkpoint_error: str | None = None
    weights_error: str | None = None
    predictions: dict[str, str] | None = None


def report_of(
    record: EpochRecord,
    metric: str,
    seconds: float,
    test: Evaluation | None,
    checkpoints: Checkpoints,
) -> TrialReport:
    """The report of an epoch. `metric` decides; `seconds` is its time unless it is replayed."""
    metrics = {
        "train_loss": record.train_loss,
        "train_top1": record.train_top1,
        "lr": record.lr,
        "images": float(record.images),
    }
    if record.clipped is not None:
        metrics["clipped"] = record.clipped
    value = None
    if record.validation is not None:
        measured = record.validation.values
        value = measured[metric]
        metrics |= {f"val_{key}": measured[key] for key in measured}
    return TrialReport(
        record.epoch,
        value,
        record.seconds if record.replayed else seconds,
        metrics,
        None if test is None else dict(test.values),
        None if test is None else test.hits,
        record.replayed,
        record.epoch <= checkpoints.saved_epoch,
        checkpoints.error,
    )


def run_trial(
    spec: TrialSpec, context: WorkerContext, attempt: int = 0, micro_batches: int = 1
) -> Generator[TrialReport]:
    """Train a trial and yield a report per epoch.

    A search or finalist trial sees only the training images. A confirm trial trains on all of them.
    It opens the test images once, after its last epoch.

    Args:
        spec: What to train.
        context: What it needs besides.
        attempt: Number of earlier starts.
        micro_batches: Number of parts of each batch, in training and evaluation, to save memory.
    """
    recipe = load_recipe_cached(context.recipe)
    study_dataset, backbone_name = spec.study.split("/", 1)
    files = run_files(context)
    context = replace(context, data=files.data)
    device = _ready_process(context)
    training = training_images(context.recipe, study_dataset, context.cache, context.data)
    settings = train_config(recipe, backbone_name, spec, spec.study in context.bfloat16)
    backbone = build_backbone(
        backbone_name,
        len(training.class_names),
        weights=recipe.weights_for(backbone_name),
        options=recipe.options_for(backbone_name),
        seed=settings.seed,
    )
    frozen = frozen_study(recipe, spec.study, backbone, settings, device, micro_batches)
    fit_indices, val_indices = _search_part(spec, recipe, training, context)
    settings = with_class_weights(settings, training.labels[fit_indices], training.class_names)
    batches = fit_batches(recipe, study_dataset, training, fit_indices, settings, device, frozen)
    evaluator = _Evaluator(recipe, study_dataset, training, settings, device, micro_batches, frozen)
    trained = backbone if frozen is None else frozen.head
    checkpoints = files.checkpoints(spec.trial, attempt)
    started = time.perf_counter()
    records = fit(
        trained,
        batches,
        settings,
        device=device,
        evaluate=evaluator.validation(val_indices),
        checkpoints=checkpoints,
        micro_batches=micro_batches,
    )
    with closing(records), _let_go(files, spec.trial):
        for record in records:
            test, weights_error, kept = None, None, None
            if spec.phase != "search" and record.epoch == settings.epochs:
                known: dict[str, float] = {}
                if val_indices is not None:
                    images = evaluator.batches(training, val_indices)
                else:
                    shown = test_images(context.recipe, study_dataset, context.cache, context.data)
                    opened = time.perf_counter()
                    images = evaluator.batches(shown, None)
                    if frozen is not None and spec.index == 0:  # once an arm, should one fail
                        known = frozen.neighbours(training, shown, recipe)
                    started += time.perf_counter() - opened  # it is no part of an epoch
                with explain_failures(settings, "evaluating"):
                    measured, answers = evaluator.measure_and_keep(trained.module, images)
                kept = keep_predictions(spec, context, files, training, images, answers, attempt)
                if spec.phase == "confirm":
                    test = replace(measured, values=measured.values | known)
                weights_error = _keep_weights(
                    spec, context, files, recipe, backbone, training, attempt
                )
            spent = time.perf_counter() - started
            report = report_of(record, recipe.metric, spent, test, checkpoints)
            yield replace(report, weights_error=weights_error, predictions=kept)
            started = time.perf_counter()


@contextmanager
def _let_go(files: RunFiles, trial: str) -> Iterator[None]:
    try:
        yield
    finally:
        files.done(trial)


def train_config(
    recipe: Recipe, backbone: str, spec: TrialSpec, bfloat16: bool | None = None
) -> TrainConfig:
    """The recipe's training section with the trial's values; `bfloat16` is as in the plan."""
    config = dict(spec.config)
    own: dict[str, Any] = {
        "epochs": spec.epochs,
        "seed": config.pop("seed"),
        "lambda_": config.pop("lambda"),
    }
    if spec.variant == OWN_LOSS:
        values = tuple((name, config.pop(name)) for name in recipe.arms[spec.arm].space)
        own["own_loss"] = OwnLoss(recipe.arms[spec.arm].loss, values)
    else:
        own["variant"] = spec.variant
    for key in ("lambda_over_n", "split"):
        config.pop(key, None)
    settings = TrainConfig(**{**recipe.train_for(backbone), **config, **own})
    return with_precision(settings, bfloat16)


def fit_batches(
    recipe: Recipe,
    dataset: str,
    training: TrainingImages,
    indices: Int64Array,
    settings: TrainConfig,
    device: torch.device,
    frozen: FrozenStudy | None = None,
) -> EpochBatches:
    """Batches of the training images at `indices`, cropped and augmented by the recipe.

    With a `frozen` body, they are batches of features.
    """
    images = TrainBatches(
        training.store.images,
        training.labels,
        indices,
        preprocessing_for(recipe, dataset),
        batch_size=settings.batch_size,
        pairing=settings.pairing,
        sampling=settings.sampling,
        seed=settings.seed,
        device=device if frozen is None else "cpu",
        channels_last=settings.channels_last,
        residency=recipe.resources.residency,
    )
    return images if frozen is None else frozen.train_batches(images, training)


def _search_part(
    spec: TrialSpec, recipe: Recipe, training: TrainingImages, context: WorkerContext
) -> tuple[Int64Array, Int64Array | None]:
    """The rows to train on and those to validate on; in confirm, all rows and None."""
    planned, found = context.split_hashes[spec.study], split_of(recipe, training, 0).hash
    if found != planned:
        raise NodeError(
            f"the training images of {spec.study} differ from those of the campaign's plan (split "
            f"{found}, planned {planned}); check whether files were added or removed, or this node "
            "has another copy"
        )
    if spec.config["split"] is None:
        return np.arange(len(training.labels)), None
    split = split_of(recipe, training, spec.config["split"])
    return split.fit, split.val


@dataclass(frozen=True)
class _Evaluator:
    """Measures networks, or heads of a frozen body, on images of a study."""

    recipe: Recipe
    dataset: str
    training: TrainingImages
    settings: TrainConfig
    device: torch.device
    micro_batches: int
    frozen: FrozenStudy | None

    def batches(self, images: Images, rows: Int64Array | None) -> EvalBatches | FeatureEvalBatches:
        """The images at `rows`, None for all, cropped at the centre; or their features."""
        if self.frozen is not None:
            return self.frozen.eval_batches(images, rows)
        return EvalBatches(
            images.store.images,
            images.labels,
            rows,
            preprocessing_for(self.recipe, self.dataset),
            batch_size=max(1, EVAL_BATCH[self.device.type] // self.micro_batches),
            device=self.device,
            channels_last=self.settings.channels_last,
            residency=self.recipe.resources.residency,
        )

    def validation(self, rows: Int64Array | None) -> Callable[[torch.nn.Module], Evaluation] | None:
        """What measures a network on the training images at `rows`; None without rows."""
        if rows is None:
            return None
        batches = self.batches(self.training, rows)
        return lambda module: self.measure(module, batches)

    def measure(
        self, module: torch.nn.Module, batches: EvalBatches | FeatureEvalBatches
    ) -> Evaluation:
        classes = len(self.training.class_names)
        return evaluate(module, batches, classes, device=self.device, amp=self.settings.amp)

    def measure_and_keep(
        self, module: torch.nn.Module, batches: EvalBatches | FeatureEvalBatches
    ) -> tuple[Evaluation, Answers]:
        """The same, with the answers to each image."""
        classes = len(self.training.class_names)
        return evaluate_and_keep(module, batches, classes, self.device, self.settings.amp)


def _keep_weights(
    spec: TrialSpec,
    context: WorkerContext,
    files: RunFiles,
    recipe: Recipe,
    backbone: Backbone,
    training: TrainingImages,
    attempt: int,
) -> str | None:
    """Write the weights if they are asked for; why they could not be written."""
    if not spec.keep_weights:
        return None
    path = files.weights(weights_file(spec))
    try:
        save_weights(path, backbone, _weights_metadata(spec, recipe, training, backbone))
        files.kept(path)
    except Exception as error:
        return why_unwritten(error, path, context, attempt)
    return None


def _weights_metadata(
    spec: TrialSpec, recipe: Recipe, training: TrainingImages, backbone: Backbone
) -> dict[str, Any]:
    dataset, name = spec.study.split("/", 1)
    image = recipe.image_for(dataset)
    options = recipe.options_for(name)
    published = published_weights(name, recipe.weights_for(name), options)
    return {
        "backbone": name,
        "backbone_options": dict(options),
        "started_from": backbone.loading.source,
        "published_weights": None if published is None else asdict(published),
        "dataset": dataset,
        "class_names": list(training.class_names),
        "preprocessing": {
            "resize": image.resize,
            "aspect": image.aspect,
            "crop": image.crop,
            "mean": list(image.mean),
            "std": list(image.std),
        },
        "trial": spec.trial,
        "config": spec.config,
        "variant": spec.variant,
    }


def _ready_process(context: WorkerContext) -> torch.device:
    """Configure the process; return the device to train on."""
    torch.set_num_threads(context.cpus)
    device = _device(context)
    if device.type == "cpu":
        tune_malloc()
    return device


def _device(context: WorkerContext) -> torch.device:
    if not context.gpus:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise NodeError(
            "the trial was given a GPU that this PyTorch cannot use: install a build for the "
            "machine's driver (`python -c 'import torch; torch.cuda.init()'` shows the error), or "
            "set resources.gpus_per_trial=0"
        )
    if context.gpus < 1:
        # Leaves other trials their share, and limits how many images are copied to the GPU.
        torch.cuda.set_per_process_memory_fraction(context.gpus)
    return torch.device("cuda")
