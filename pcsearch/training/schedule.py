"""Learning-rate schedules: the update's number to a factor on the learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pcsearch.training.config import FitSettings, ScheduleName


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
