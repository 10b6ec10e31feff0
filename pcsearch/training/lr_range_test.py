"""The learning-rate range test: a short training whose rate grows until the loss rises.

Smith, "Cyclical learning rates for training neural networks" (2017), section 3.3. Losses are
compared by differences in nats, not by ratios: a loss that rewards entropy may be negative.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pcsearch.errors import TrialError
from pcsearch.training.config import TrainConfig
from pcsearch.training.failures import explain_failures
from pcsearch.training.objective import Objective
from pcsearch.training.optim import Stage, build_optimizer, set_training_mode
from pcsearch.training.schedule import Schedule
from pcsearch.training.trainer import EpochTrainer

if TYPE_CHECKING:
    from pcsearch.data.loaders import EpochBatches
    from pcsearch.models import Backbone

STEPS = 51
ENDS = {"sgd": (1e-5, 1.0), "adamw": (1e-6, 0.1)}
"""The rates of the first and the last step, for each optimizer: ten steps a decade."""

_RISE = 0.35
"""Nats above the minimum that count as a clear rise. Noise alone stays below."""

_BACK = 0.7
"""For a loss that went below chance, this share of the way back is also a clear rise."""

_LEFT_CHANCE = 0.1
"""A loss this many nats below chance has left it. It is also the least rise that counts."""

DIVERGED = 4.0
"""Nats above the minimum at which a training has diverged."""

_SAFETY = 5.0
"""A whole training takes at most the rate at which a short one diverges, divided by this."""

WIDTH = 50.0
"""Upper end over lower end, 1.7 decades. Good rates were found within one decade of the end."""

_LEAST_CHANGE = 0.1
"""Nats between the largest and the smallest loss. With less, no rate had any effect."""

_REACH = 2  # losses are smoothed over this many steps on both sides


class RangeTestError(Exception):
    """The losses give no range. The text says why."""


@dataclass(frozen=True)
class LossCurve:
    """The losses at growing rates: `losses[i]` is measured before the update at the i-th rate.

    A training that diverged has fewer losses than rates. `inf` stands for any non-finite loss.
    `chance` is the loss of a network that finds all classes equally likely.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    chance: float


def growing_rates(optimizer: str, steps: int = STEPS) -> tuple[float, ...]:
    """Learning rates of a range test's steps. Each is larger than the last by the same factor."""
    lowest, highest = ENDS[optimizer]
    return tuple(lowest * (highest / lowest) ** (step / (steps - 1)) for step in range(steps))


def lr_range(curves: Sequence[LossCurve]) -> tuple[float, float]:
    """The range of learning rates to search, from range tests over the same rates.

    The upper end is the last rate before the loss has clearly risen. A regulariser may make it
    cheap to collapse to equal probabilities, so a way back to chance counts as a rise. Some short
    trainings stay at chance, as fine-tuned networks with batch normalisation do; their early rise
    says little. Their upper end is at least a fifth of the rate at which they diverge. The lower
    end is a fiftieth of the upper one. Both are rounded to two significant digits.

    Raises:
        RangeTestError: the loss rises or is not finite at the first rates, or never changes.
    """
    rates = curves[0].rates
    losses = smoothed(curves)
    if not math.isfinite(losses[0]):
        raise RangeTestError("the loss is not finite, or rises, from the first rate on")
    lowest = min(losses)
    bottom = losses.index(lowest)
    left = min(curve.chance for curve in curves) - lowest
    rise = min(_RISE, max(_LEFT_CHANCE, _BACK * left)) if left >= _LEFT_CHANCE else _RISE
    risen = _first(losses, bottom, lowest + rise)
    lost = _first(losses, bottom, lowest + DIVERGED)
    if risen is not None and risen <= _REACH:
        raise RangeTestError("the loss is not finite, or rises, from the first rate on")
    if max(losses) - lowest < _LEAST_CHANGE:
        raise RangeTestError("the loss neither falls nor rises at any rate: nothing is learned")
    upper = rates[-1] if risen is None else rates[risen - 1]
    if lost is not None and left < _LEFT_CHANCE:
        upper = max(upper, rates[lost] / _SAFETY)
    return _rounded(upper / WIDTH), _rounded(upper)


def smoothed(curves: Sequence[LossCurve]) -> list[float]:
    """At each rate, the median of all curves' losses there and at two steps on either side.

    The spike of one batch does not move a median. A curve that ended counts as infinite after it.
    """
    steps = range(len(curves[0].rates))
    filled = [
        [
            c.losses[i] if i < len(c.losses) and math.isfinite(c.losses[i]) else math.inf
            for i in steps
        ]
        for c in curves
    ]
    return [
        median(loss for curve in filled for loss in curve[max(0, i - _REACH) : i + _REACH + 1])
        for i in steps
    ]


def measure_curve(
    backbone: Backbone,
    batches: EpochBatches,
    settings: TrainConfig,
    classes: int,
    *,
    device: torch.device | str,
    steps: int = STEPS,
    micro_batches: int = 1,
    progress: Callable[[int], None] = lambda step: None,
) -> LossCurve:
    """Train `backbone` in place at growing rates until it diverges or the steps are done.

    Each step is an update of `fit` (same loss, optimizer, clipping and accumulation) without
    warm-up, schedule or classifier-only stage. Random numbers come from `settings.seed` alone. The
    caller's random state does not change.

    Raises:
        TrialError: too little memory, or a batch that the network does not take.
        UserError: the network has nothing to train.
    """
    device = torch.device(device)
    rates = growing_rates(settings.optimizer, steps)
    settings = replace(settings, epochs=steps, head_only_epochs=0, warmup_epochs=0.0)
    group = settings.accumulation_steps
    ramp = _Ramp(
        head_only=False,
        epochs=range(1, steps + 1),
        lr=rates[-1],
        schedule=Schedule("constant", steps),
        rates=rates,
    )
    with explain_failures(settings, "placing"):
        backbone.module.to(device)
        if settings.channels_last:
            backbone.module.to(memory_format=torch.channels_last)
    optimizer = build_optimizer(backbone, settings)
    trainer = EpochTrainer(backbone.module, optimizer, ramp, settings, group, device, micro_batches)
    set_training_mode(backbone, head_only=False)
    source = _endless(batches, settings.batch_size)
    losses: list[float] = []
    with explain_failures(settings, micro_batches=micro_batches), _seeded(settings.seed, device):
        for step in range(steps):
            losses.append(_step(trainer, list(islice(source, group)), step + 1))
            progress(step + 1)
            if _is_lost(losses):
                break
    equal, labels = torch.zeros(2, classes), torch.tensor([0, 1])
    # class weights have a mean of 1 over the images
    chance, _ = Objective(replace(settings, class_weights="none"))(equal, labels)
    return LossCurve(rates, tuple(losses), chance.item())


@dataclass(frozen=True)
class _Ramp(Stage):
    """A stage in which each update takes the next rate."""

    rates: tuple[float, ...]

    def lr_at(self, update: int) -> float:
        return self.rates[update]


def _step(trainer: EpochTrainer, group: list[tuple[Tensor, Tensor]], number: int) -> float:
    try:
        return trainer.train(group, number).loss
    except TrialError:  # a loss that is not finite
        return math.inf


def _is_lost(losses: Sequence[float]) -> bool:
    """Whether training has diverged: the last loss is not finite, or most of five are far up."""
    if not math.isfinite(losses[-1]):
        return True
    window = 2 * _REACH + 1
    if len(losses) < window:
        return False
    medians = [median(losses[end - window : end]) for end in range(window, len(losses) + 1)]
    return medians[-1] >= min(medians) + DIVERGED


def _endless(batches: EpochBatches, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of one epoch after another; smaller ones only if an epoch has no whole one."""
    epoch = 0
    has_whole = False
    while True:
        epoch += 1
        for images, labels in batches.epoch(epoch):
            has_whole = has_whole or len(labels) == batch_size
            if len(labels) == batch_size or not has_whole:
                yield images, labels


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed PyTorch's random numbers (dropout); restore their state after."""
    on_cuda = device.type == "cuda"
    index = device.index if device.index is not None or not on_cuda else torch.cuda.current_device()
    with torch.random.fork_rng(devices=[index] if on_cuda else [], device_type="cuda"):
        torch.manual_seed(seed)
        yield


def _first(losses: Sequence[float], start: int, level: float) -> int | None:
    """The first step from `start` on whose loss is at least `level`."""
    return next((step for step in range(start, len(losses)) if losses[step] >= level), None)


def _rounded(rate: float) -> float:
    return float(f"{rate:.2g}")
