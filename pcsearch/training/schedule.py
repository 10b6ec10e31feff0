"""Learning-rate schedules: from an update's number to a factor on the learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pcsearch.training.config import ScheduleName, TrainConfig


@dataclass(frozen=True)
class Schedule:
    """A schedule with all lengths in optimizer updates.

    With t from 0 to 1 over the updates after the warm-up, the factor is

        linear      1 − t
        poly        (1 − t)^power
        cosine      (1 + cos πt) / 2
        constant    1
        step        gamma^⌊update / drop_updates⌋, counted from the first update of all

    Attributes:
        kind: one of these decays.
        total_updates: number of updates, including the warm-up.
        warmup_updates: the first updates, in which the factor rises linearly. Update u of w (from
            0) has (u + 1) / w, times the decay of "step" if it drops that early.
    """

    kind: ScheduleName
    total_updates: int
    warmup_updates: int = 0
    poly_power: float = 0.5
    drop_updates: int = 1
    step_gamma: float = 0.1


def lr_factor(schedule: Schedule, update: int) -> float:
    """The factor on the learning rate at `update`, counted from 0 to total_updates − 1."""
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


def schedule_of(settings: TrainConfig, epochs: int, updates_per_epoch: int) -> Schedule:
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
