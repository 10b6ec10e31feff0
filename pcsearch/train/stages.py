"""The stages of a training: the head alone first if asked for, then all parameters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from pcsearch.train.schedule import Schedule, lr_factor, schedule_of
from pcsearch.train.settings import FitSettings

if TYPE_CHECKING:
    from pcsearch.models import Backbone


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
