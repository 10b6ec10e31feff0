"""Optimizers over head and body, learning-rate schedules, and the stages of a training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn, optim

from pcsearch.errors import UserError
from pcsearch.training.config import FitSettings, ScheduleName

if TYPE_CHECKING:
    from pcsearch.models import Backbone


@dataclass(frozen=True)
class Schedule:
    """A schedule with all lengths in optimizer updates.

    Attributes:
        kind: the decay; with t = updates after the warm-up / updates there are after it,
            "linear" is 1 − t, "poly" is (1 − t)^power, "cosine" is (1 + cos πt) / 2, "constant"
            is 1, and "step" is gamma^⌊update / drop_updates⌋, counted from the very first update.
        total_updates: updates in all, the warm-up included.
        warmup_updates: the first ones, on which the factor rises linearly: update u of w (from 0)
            has (u + 1) / w, times "step"'s decay if it drops that early.
    """

    kind: ScheduleName
    total_updates: int
    warmup_updates: int = 0
    poly_power: float = 0.5
    drop_updates: int = 1
    step_gamma: float = 0.1


def lr_factor(schedule: Schedule, update: int) -> float:
    """The factor on the learning rate at `update`, which counts from 0 to total_updates − 1."""
    warmup = schedule.warmup_updates
    if update < warmup:
        return (update + 1) / warmup * (_drops(schedule, update) if schedule.kind == "step" else 1)
    remaining = 1 - (update - warmup) / max(1, schedule.total_updates - warmup)
    match schedule.kind:
        case "linear":
            return remaining
        case "poly":
            return float(remaining**schedule.poly_power)
        case "cosine":
            return (1 - math.cos(math.pi * remaining)) / 2
        case "step":
            return _drops(schedule, update)
        case "constant":
            return 1.0


def schedule_of(settings: FitSettings, epochs: int, updates_per_epoch: int) -> Schedule:
    """The schedule of `settings` over `epochs` epochs of `updates_per_epoch` updates each."""
    return Schedule(
        kind=settings.schedule,
        total_updates=epochs * updates_per_epoch,
        warmup_updates=round(settings.warmup_epochs * updates_per_epoch),
        poly_power=settings.poly_power,
        drop_updates=max(1, round(settings.step_epochs * updates_per_epoch)),
        step_gamma=settings.step_gamma,
    )


def _drops(schedule: Schedule, update: int) -> float:
    return float(schedule.step_gamma ** (update // schedule.drop_updates))


_MULTIPLIER = "lr_multiplier"


def build_optimizer(
    backbone: Backbone, settings: FitSettings, *, head_only: bool = False
) -> optim.Optimizer:
    """SGD or AdamW over the parameters that require gradients, at the rates of `set_lr(..., lr)`.

    The body's group trains at the learning rate, the head's at `head_lr_multiplier` times it;
    head_only leaves the body out and the multiplier at 1. Weight decay acts on every parameter of
    both groups, biases and normalisation weights included: none is exempt.

    Raises:
        UserError: when no parameter requires a gradient.
    """
    if head_only:
        wanted = [(backbone.head_parameters(), 1.0)]
    else:
        wanted = [
            (backbone.body_parameters(), 1.0),
            (backbone.head_parameters(), settings.head_lr_multiplier),
        ]
    groups = [
        {"params": trained, "lr": settings.lr * multiplier, _MULTIPLIER: multiplier}
        for parameters, multiplier in wanted
        if (trained := _trained(parameters))
    ]
    if not groups:
        raise UserError(
            f"the backbone has no {'head ' if head_only else ''}parameter that requires a gradient:"
            " there is nothing to train"
        )
    if settings.optimizer == "adamw":
        return optim.AdamW(groups, lr=settings.lr, weight_decay=settings.weight_decay)
    return optim.SGD(
        groups,
        lr=settings.lr,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
    )


def set_lr(optimizer: optim.Optimizer, lr: float) -> None:
    """Give every group `lr` times its own multiplier."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group[_MULTIPLIER]


def trained_parameters(optimizer: optim.Optimizer) -> list[nn.Parameter]:
    """All parameters of all groups."""
    groups: list[dict[str, Any]] = optimizer.param_groups
    return [parameter for group in groups for parameter in group["params"]]


def _trained(parameters: Sequence[nn.Parameter]) -> list[nn.Parameter]:
    return [parameter for parameter in parameters if parameter.requires_grad]


@dataclass(frozen=True)
class Stage:
    """Consecutive epochs that train the same parameters under one schedule and one optimizer.

    Attributes:
        head_only: the body is frozen.
        epochs: their numbers, counting from 1 over the whole training.
        lr: learning rate at the schedule's factor 1.
        schedule: over this stage's updates.
    """

    head_only: bool
    epochs: range
    lr: float
    schedule: Schedule

    def lr_at(self, update: int) -> float:
        """The learning rate at an update of this stage, counting from 0."""
        return self.lr * lr_factor(self.schedule, update)


def stages_of(settings: FitSettings, updates_per_epoch: int) -> tuple[Stage, ...]:
    """The stages in order; together they cover epochs 1 to `settings.epochs`."""
    alone = settings.head_only_epochs
    remaining = settings.epochs - alone
    stages = []
    if alone:
        lr = settings.head_only_lr
        stages.append(
            Stage(
                head_only=True,
                epochs=range(1, alone + 1),
                lr=settings.lr * settings.head_lr_multiplier if lr is None else lr,
                schedule=Schedule("constant", alone * updates_per_epoch),
            )
        )
    if remaining:
        stages.append(
            Stage(
                head_only=False,
                epochs=range(alone + 1, settings.epochs + 1),
                lr=settings.lr,
                schedule=schedule_of(settings, remaining, updates_per_epoch),
            )
        )
    return tuple(stages)


@contextmanager
def frozen_body(backbone: Backbone, head_only: bool) -> Iterator[None]:
    """Within it, no body parameter gets a gradient if `head_only`; afterwards as before."""
    frozen = [p for p in backbone.body_parameters() if p.requires_grad] if head_only else []
    for parameter in frozen:
        parameter.requires_grad_(False)
        parameter.grad = None
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)


def set_training_mode(backbone: Backbone, head_only: bool) -> None:
    """Training mode for the network; if `head_only`, the body's running statistics stay as they
    are and are what its normalisation layers use (dropout stays on)."""
    backbone.module.train()
    if head_only:
        head = {id(parameter) for parameter in backbone.head_parameters()}
        for layer in backbone.module.modules():
            if _has_running_statistics(layer) and not any(
                id(p) in head for p in layer.parameters()
            ):
                layer.eval()


def _has_running_statistics(layer: nn.Module) -> bool:
    return getattr(layer, "running_mean", None) is not None
