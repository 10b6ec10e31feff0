"""How long a campaign takes here: each network trains and evaluates a few random images.

Random images cost what real ones do, so nothing has to be decoded. Weights and classes do not
matter either.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pcsearch.cluster.session.capacity import Capacity, Node, size_trials
from pcsearch.cpus import usable_cpus
from pcsearch.errors import TrialError, UserError
from pcsearch.execution.preflight.lr_ranges import range_test_images
from pcsearch.recipe.schema import Recipe
from pcsearch.reporting.formatting import duration
from pcsearch.search.estimate import Speed, campaign_seconds
from pcsearch.search.plan import Plan, StudyPlan

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from pcsearch.models import Backbone
    from pcsearch.training.config import TrainConfig

SECONDS = 15.0
"""Most seconds that all networks of a recipe take together, about."""

_MOST_PER_NETWORK = 3.0
_FEWEST_ROUNDS = 2
_FEWEST_STEPS = 3
_ENDLESS = 10_000
"""Epochs of one step each."""

_FEATURES_AT_ONCE = 8
"""Images in a measured batch of features: fewer take longer each, more take too long in all."""

_LONG, _DAY = 3600.0, 86_400.0
"""Seconds above which a campaign is told how to be shorter, and whether to start is asked."""

_LOW, _HIGH = 0.75, 1.35
"""The range of a forecast. Other processes, the data path and luck are not measured."""


@dataclass(frozen=True)
class Forecast:
    """Wall seconds of a campaign on this machine, from the measured speed of its trials.

    Attributes:
        expected: The expected seconds.
        at_most: If no search trial is stopped early.
        max_concurrent: Trials at once.
        speeds: The speed of each study's trials, by its id.
    """

    expected: float
    at_most: float
    max_concurrent: int
    speeds: dict[str, Speed]

    @property
    def low(self) -> float:
        return _LOW * self.expected

    def is_above_a_day(self, plan: Plan) -> bool:
        """Whether even the low end is above a day, and so is the plan's budget, if it has one."""
        return min(self.low, plan.budget_seconds or self.low) > _DAY

    @property
    def high(self) -> float:
        return _HIGH * self.expected

    def sentences(self, plan: Plan) -> tuple[str, ...]:
        """The range of the time, and what would make it shorter if it is above an hour."""
        at_once = "1 trial" if self.max_concurrent == 1 else f"{self.max_concurrent} trials"
        time = (
            f"Time on this machine: {duration(self.low)} to {duration(self.high)} (measured; "
            f"{at_once} at once)"
        )
        if plan.budget_seconds is not None:
            return (f"{time}, or less by budget.hours.",)
        if self.expected <= _LONG:
            return (f"{time}.",)
        slowest = max(plan.studies, key=lambda study: self.speeds[study.id].train)
        return (
            f"{time}.",
            f"To shorten it, take a lighter network than {slowest.backbone}, fewer pixels "
            "(image.crop, image.resize) or fewer search.trials "
            f"({plan.studies[0].arms[0].trials} now). Or limit it by tune --hours or budget.hours.",
        )


def forecast(recipe: Recipe, plan: Plan, max_concurrent: int | None = None) -> Forecast | None:
    """Measure the speed of a plan's trials on this machine; None if a network fails to train.

    `max_concurrent` None means as many trials at once as `tune` runs here.
    """
    try:
        speeds = measure_speeds(recipe, plan)
    except (TrialError, UserError):  # the campaign says why, with the trial's own images
        return None
    at_once = max_concurrent or trials_at_once(recipe)
    expected, at_most = campaign_seconds(plan, speeds, at_once)
    before = sum(
        range_test_images(recipe, study) * speeds[study.id].train for study in plan.studies
    )
    return Forecast(before + expected, before + at_most, at_once, speeds)


def trials_at_once(recipe: Recipe) -> int:
    """How many trials `tune` runs at once on this machine."""
    import torch

    node = Node(usable_cpus(), torch.cuda.device_count())
    return size_trials(recipe.resources, Capacity((node,))).max_concurrent


def measure_speeds(recipe: Recipe, plan: Plan, seconds: float = SECONDS) -> dict[str, Speed]:
    """The speed of one trial of each study, by its id, on the device that trials get here.

    Takes about `seconds` in all, and at most three a network and crop. Seconds of one thread count
    for each CPU that a trial gets.
    """
    kinds = {_kind(recipe, study): study for study in plan.studies}
    share = min(_MOST_PER_NETWORK, seconds / len(kinds))
    with _as_a_trial(recipe) as device:
        speeds = {kind: _measure(recipe, study, device, share) for kind, study in kinds.items()}
    return {study.id: speeds[_kind(recipe, study)] for study in plan.studies}


def _kind(recipe: Recipe, study: StudyPlan) -> tuple[str, int]:
    return study.backbone, recipe.image_for(study.dataset).crop


def seconds_of_steps(
    recipe: Recipe, study: StudyPlan, settings: Sequence[TrainConfig], seconds: float
) -> list[float]:
    """Median seconds of a step of each of several trainings, measured in turns.

    Random images, on the device and with the threads that trials get here.

    Args:
        recipe: The recipe.
        study: The study whose network is trained.
        settings: The trainings.
        seconds: About how long to measure; each has three steps at least.
    """
    times: list[list[float]] = [[] for _ in settings]
    with _as_a_trial(recipe) as device:
        steps = [_steps(recipe, study, device, one) for one in settings]
        while len(times[-1]) < _FEWEST_STEPS or sum(map(sum, times)) < seconds:
            for step, taken in zip(steps, times, strict=True):
                taken.append(_seconds_of(partial(next, step), device))
    return [sorted(taken)[len(taken) // 2] for taken in times]


@contextmanager
def _as_a_trial(recipe: Recipe) -> Iterator[torch.device]:
    """Within the context, PyTorch has the threads of a trial; its value is the trial's device."""
    import torch

    gpu = recipe.resources.gpus_per_trial != 0 and torch.cuda.is_available()
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, int(recipe.resources.cpus_per_trial)))
    try:
        yield torch.device("cuda" if gpu else "cpu")
    finally:
        torch.set_num_threads(threads)


def _steps(
    recipe: Recipe, study: StudyPlan, device: torch.device, settings: TrainConfig
) -> Iterator[object]:
    """Steps of a training on random images, one at each `next`; the first is done."""
    from pcsearch.training.trainer import fit

    config = _endless(settings)
    images = _images(recipe, study, config, device)
    backbone = _backbone(recipe, study)
    steps = fit(backbone, _Batches(images), config, device=device, evaluate=None)
    next(steps)
    return steps


def plain_settings(recipe: Recipe, study: StudyPlan, bfloat16: bool | None) -> TrainConfig:
    """The recipe's training section alone, without an arm."""
    from pcsearch.training.config import TrainConfig, with_precision

    settings = recipe.train_for(study.backbone)
    return with_precision(TrainConfig(epochs=_ENDLESS, seed=0, **settings), bfloat16)


def _endless(settings: TrainConfig) -> TrainConfig:
    """The same training without an end, at a rate that changes nothing."""
    return replace(
        settings,
        epochs=_ENDLESS,
        lr=1e-9,
        compile=False,
        head_only_epochs=0,
        warmup_epochs=0.0,
        accumulation_steps=1,
        clip_norm=None,
        class_weights="none",  # there are no labels to count
    )


def _images(recipe: Recipe, study: StudyPlan, config: TrainConfig, device: torch.device) -> Tensor:
    import torch

    crop = recipe.image_for(study.dataset).crop
    images = torch.rand(config.batch_size, 3, crop, crop, device=device)
    if config.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    return images


def _backbone(recipe: Recipe, study: StudyPlan) -> Backbone:
    from pcsearch.models import build_backbone

    return build_backbone(
        study.backbone,
        study.num_classes,
        weights="none",
        options=recipe.options_for(study.backbone),
        seed=0,
    )


def _measure(recipe: Recipe, study: StudyPlan, device: torch.device, seconds: float) -> Speed:
    import torch

    from pcsearch.training.precision import autocast
    from pcsearch.training.trainer import fit

    config = _endless(plain_settings(recipe, study, study.bfloat16))
    began = time.perf_counter()
    backbone = _backbone(recipe, study)
    built = time.perf_counter() - began
    images = _images(recipe, study, config, device)
    once = 0.0
    if study.frozen_body:
        backbone, images, once = _frozen(recipe, study, backbone, images, config, seconds / 4)
    # A first step of two images tells how many a step may have: on a CPU, 32 may take 20 s.
    small = _Batches(images[:2])
    epochs = fit(backbone, small, config, device=device, evaluate=None)
    next(epochs)
    each = _seconds_of(lambda: next(epochs), device) / 2
    epochs.close()
    fitting = int(seconds / 4 / max(each, 1e-9))
    used = images[: max(2, min(len(images), fitting))]
    epochs = fit(backbone, _Batches(used), config, device=device, evaluate=None)
    next(epochs)
    train = _rate(lambda: next(epochs), len(used), device, 0.6 * seconds)
    epochs.close()

    @torch.no_grad()
    def evaluate() -> None:
        backbone.module.eval()
        with autocast(device, config.amp):
            backbone.module(used)

    evaluate()
    return Speed(train, _rate(evaluate, len(used), device, 0.2 * seconds), built, once)


def _frozen(
    recipe: Recipe,
    study: StudyPlan,
    backbone: Backbone,
    images: Tensor,
    config: TrainConfig,
    seconds: float,
) -> tuple[Backbone, Tensor, float]:
    """The head alone, a batch of features, and the seconds for all features of one image."""
    import torch

    from pcsearch.models.frozen_body import freeze_body
    from pcsearch.training.precision import autocast

    device = images.device
    body = freeze_body(backbone, images.shape[-1])
    body.network.to(device)
    if config.channels_last:
        body.network.to(memory_format=torch.channels_last)
    few = images[:_FEATURES_AT_ONCE]

    def compute() -> Tensor:
        with autocast(device, config.amp):
            return body.features(few).float()

    features = compute()
    views = 2 if recipe.image_for(study.dataset).flip else 1
    once = views * _rate(compute, len(few), device, seconds)
    copies = -(-len(images) // len(few))
    return body.head, torch.cat([features] * copies)[: len(images)], once


def _rate(step: Callable[[], Any], images: int, device: torch.device, seconds: float) -> float:
    """Seconds per image, the median of as many steps as fit."""
    times: list[float] = []
    while len(times) < _FEWEST_ROUNDS or (sum(times) < seconds and len(times) < 1000):
        times.append(_seconds_of(step, device))
    return sorted(times)[len(times) // 2] / images


def _seconds_of(step: Callable[[], Any], device: torch.device) -> float:
    import torch

    began = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


class _Batches:
    """One batch an epoch, always the same, in place of `TrainBatches`."""

    def __init__(self, images: Tensor) -> None:
        import torch

        self._batch = images, torch.arange(len(images), device=images.device) % 2
        self.num_images = len(images)

    def __len__(self) -> int:
        return 1

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        yield self._batch
