"""`train.freeze: body`: the features of a study's images from the cache, and the head alone.

An image has at most two views, its centre crop and, with `image.flip`, the crop's mirror image. So
a trial draws from them what it would draw from the images, and an epoch takes milliseconds.
"""

from __future__ import annotations

import copy
import hashlib
import json
import queue
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch

from pcsearch.code_consent import code_hash, is_reference
from pcsearch.cpus import usable_cpus
from pcsearch.data.cache.features import FeatureArray, ensure_features
from pcsearch.data.dataset import Int64Array
from pcsearch.data.loaders import (
    EvalBatches,
    FeatureEvalBatches,
    FeatureTrainBatches,
    TrainBatches,
)
from pcsearch.data.prepared import TestImages, TrainingImages
from pcsearch.execution.preflight.datasets import preprocessing_for, split_of
from pcsearch.models.frozen_body import FrozenBody, body_hash, freeze_body
from pcsearch.models.registry import Backbone, build_backbone
from pcsearch.recipe.schema import Recipe
from pcsearch.search.plan import StudyPlan
from pcsearch.search.trial import KNN, NEIGHBOURS
from pcsearch.training.config import MOST_EPOCHS, TrainConfig, with_precision
from pcsearch.training.failures import explain_failures, release_memory
from pcsearch.training.nearest_neighbours import CHOICES, best_choice, measured, predictions
from pcsearch.training.precision import autocast
from pcsearch.version import __version__

EVAL_BATCH = {"cpu": 32, "cuda": 256}
"""Images per batch of evaluation. Small batches fit in a CPU's cache: 2.5 times as fast."""

_IN_A_THREAD = 16
"""Images at once in one of several threads, which give large blocks of memory back each time."""

_MOST_THREADS = 16

_FORMAT = 1
"""Version of what a feature is. Raise it when the same key would mean other numbers."""

Images = TrainingImages | TestImages
Progress = Callable[[int, int], None]


class FrozenStudy:
    """A dataset with a backbone whose body is frozen.

    Args:
        recipe: The recipe.
        dataset: The dataset's id.
        name: The backbone, as the recipe names it.
        backbone: The network, on the CPU and not trained yet.
        settings: Of its training; the precision counts.
        device: Where features are computed and the head is trained.
        batch_size: Images at once.

    Attributes:
        head: The head alone, which turns features into logits. To train it is to train `backbone`.

    Raises:
        UserError: the network cannot be cut before its last layer.
    """

    def __init__(
        self,
        recipe: Recipe,
        dataset: str,
        name: str,
        backbone: Backbone,
        settings: TrainConfig,
        device: torch.device,
        batch_size: int,
    ) -> None:
        self._preprocessing = preprocessing_for(recipe, dataset)
        self._body = freeze_body(backbone, self._preprocessing.crop)
        self.head = self._body.head
        self._settings = settings
        self._device = device
        self._batch_size = batch_size
        self._whose = name
        self._described = [
            _FORMAT,
            body_hash(backbone),
            self._body.layer,
            name,
            recipe.options_for(name),
            code_hash(name.partition(":")[0].partition(".")[0]) if is_reference(name) else "",
            self._preprocessing.crop,
            self._preprocessing.mean,
            self._preprocessing.std,
            device.type,
            isinstance(autocast(device, settings.amp), torch.autocast),
            settings.channels_last,
            __version__,
            [_version_of(library) for library in ("torch", "torchvision", "timm")],
        ]

    def features(
        self,
        images: Images,
        progress: Progress = lambda done, total: None,
        threads: int = 1,
    ) -> FeatureArray:
        """Float32 [V, m, ...] of all images, from the cache or computed now.

        Training images have a second view, the mirror image, with `image.flip`. `progress` gets
        the number of views done and of all. `threads` is the number of batches at once.

        Raises:
            UserError: the features are too large, or are not finite.
            TrialError: there is too little memory for the network.
        """
        views = 2 if isinstance(images, TrainingImages) and self._preprocessing.flip else 1
        text = json.dumps([*self._described, views], sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()[:32]

        def compute() -> Iterator[FeatureArray]:
            done, total = 0, views * len(images.labels)
            for part in self._computed(images, views, threads):
                yield part
                done += len(part)
                progress(done, total)

        return ensure_features(images.store, key, views, compute, self._whose)

    def train_batches(self, drawn: TrainBatches, images: TrainingImages) -> FeatureTrainBatches:
        """The features of what `drawn` draws from the training images."""
        return FeatureTrainBatches(
            drawn,
            self.features(images),
            images.labels,
            self._device,
            channels_last=self._settings.channels_last,
        )

    def eval_batches(self, images: Images, rows: Int64Array | None) -> FeatureEvalBatches:
        """The features of the images at `rows`, None for all, in order."""
        return FeatureEvalBatches(
            self.features(images),
            images.labels,
            rows,
            self._device,
            channels_last=self._settings.channels_last,
        )

    def neighbours(
        self, training: TrainingImages, test: TestImages, recipe: Recipe
    ) -> dict[str, float]:
        """k-nearest neighbours on the features: the metric on the test images, and k.

        The validation images of the first split choose k. Then all training images are neighbours.
        Maps count by their means over positions.
        """
        classes, metric = len(training.class_names), recipe.metric
        split = split_of(recipe, training, 0)
        values, asked = (self._vectors(images) for images in (training, test))
        labels, answers = (torch.from_numpy(images.labels) for images in (training, test))
        fit, val = torch.from_numpy(split.fit), torch.from_numpy(split.val)
        tried = predictions(values[fit], labels[fit], values[val], classes, CHOICES)
        scores = {k: measured(found, labels[val], classes, metric) for k, found in tried.items()}
        k = best_choice(scores)
        found = predictions(values, labels, asked, classes, [k])[k]
        return {NEIGHBOURS: float(k), KNN: measured(found, answers, classes, metric)}

    def _vectors(self, images: Images) -> torch.Tensor:
        """[m, D] of the centre crops."""
        values = torch.from_numpy(np.array(self.features(images)[0]))
        if values.ndim == 4:
            last = self._settings.channels_last
            values = values.mean((1, 2) if last else (2, 3))
        return values.flatten(1)

    def _computed(self, images: Images, views: int, threads: int) -> Generator[FeatureArray]:
        batches = EvalBatches(
            images.store.images,
            images.labels,
            None,
            self._preprocessing,
            batch_size=self._batch_size,
            device=self._device,
            channels_last=self._settings.channels_last,
            residency="host",
        )
        with explain_failures(self._settings, "placing"):
            network = self._body.network.to(self._device)
            if self._settings.channels_last:
                network.to(memory_format=torch.channels_last)
            bodies: queue.SimpleQueue[FrozenBody] = queue.SimpleQueue()
            bodies.put(self._body)
            for _ in range(threads - 1):
                bodies.put(replace(self._body, network=copy.deepcopy(network)))
        shown = (
            inputs.flip(3) if view else inputs for view in range(views) for inputs, _ in batches
        )
        if threads == 1:
            yield from (self._part(bodies, inputs) for inputs in shown)
            return
        with ThreadPoolExecutor(threads, initializer=lambda: torch.set_num_threads(1)) as pool:
            running: deque[Future[FeatureArray]] = deque()
            for inputs in shown:
                running.append(pool.submit(self._part, bodies, inputs))
                if len(running) > 2 * threads:  # so that few batches wait in memory
                    yield running.popleft().result()
            yield from (part.result() for part in running)

    def _part(self, bodies: queue.SimpleQueue[FrozenBody], inputs: torch.Tensor) -> FeatureArray:
        """Features of a batch, by a network that is free."""
        body = bodies.get()
        try:
            with (
                explain_failures(self._settings, "evaluating"),
                autocast(self._device, self._settings.amp),
            ):
                found = body.features(inputs).float()
        finally:
            bodies.put(body)
        if self._settings.channels_last and found.ndim == 4:
            found = found.permute(0, 2, 3, 1)
        array: FeatureArray = found.cpu().numpy()
        return array


def frozen_study(
    recipe: Recipe,
    study: str,
    backbone: Backbone,
    settings: TrainConfig,
    device: torch.device,
    micro_batches: int,
) -> FrozenStudy | None:
    """The study with this id if its body is frozen, else None."""
    if settings.freeze != "body":
        return None
    dataset, name = study.split("/", 1)
    at_once = max(1, EVAL_BATCH[device.type] // micro_batches)
    return FrozenStudy(recipe, dataset, name, backbone, settings, device, at_once)


def compute_features(
    recipe: Recipe, study: StudyPlan, images: TrainingImages, progress: Progress
) -> None:
    """Put the features of a study's training images into the cache, with all CPUs or the GPU.

    Each thread has a network of its own and computes on one CPU. PyTorch's own threads wait for
    each other at every layer, which takes several times as long beside other processes.
    """
    train = recipe.train_for(study.backbone)
    settings = with_precision(TrainConfig(epochs=MOST_EPOCHS, seed=0, **train), study.bfloat16)
    gpu = recipe.resources.gpus_per_trial != 0 and torch.cuda.is_available()
    device = torch.device("cuda" if gpu else "cpu")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        backbone = build_backbone(
            study.backbone,
            study.num_classes,
            weights=recipe.weights_for(study.backbone),
            options=recipe.options_for(study.backbone),
        )
        one = FrozenStudy(
            recipe,
            study.dataset,
            study.backbone,
            backbone,
            settings,
            device,
            EVAL_BATCH[device.type] if gpu else _IN_A_THREAD,
        )
        one.features(images, progress, 1 if gpu else min(usable_cpus(), _MOST_THREADS))
    finally:
        torch.set_num_threads(threads)
        release_memory()


def _version_of(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""
