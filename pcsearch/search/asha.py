"""Asynchronous successive halving (Li et al., MLSys 2020), in its stopping form.

Rungs are at `grace_epochs · η^i < max_epochs`. A rung holds `k` recorded values, the trial's own
included. The trial continues if and only if fewer than `max(1, ⌊k/η⌋)` of them are strictly larger.
So the best value at a rung always continues, and at least one trial reaches `max_epochs` unless it
fails.

With `Noise`, a trial that the plain rule would stop still continues if both hold:

- its value is within one standard error of the lowest that continues, or that one is no better
  than guessing;
- it is not among the worst third.

Li et al. assume that a rung's ranks are the final ranks. With a few hundred validation images, they
are largely luck.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from dataclasses import dataclass


def rungs(max_epochs: int, grace_epochs: int, reduction_factor: int) -> tuple[int, ...]:
    """The epochs at which trials are compared, ascending: (1, 3) for 9 epochs, grace 1, η = 3."""
    levels = []
    epoch = grace_epochs
    while epoch < max_epochs:
        levels.append(epoch)
        epoch *= reduction_factor
    return tuple(levels)


@dataclass(frozen=True)
class Noise:
    """The chance error of a validation accuracy.

    Attributes:
        images: Validation images that it is measured on.
        chance: Accuracy of guessing, in percent.
    """

    images: int
    chance: float

    def standard_error(self, value: float) -> float:
        """The standard error, in points, of an accuracy in percent: √(p (100 − p) / images)."""
        share = min(100.0, max(0.0, value))
        return math.sqrt(share * (100.0 - share) / self.images)

    def unclear(self, value: float, cut: float) -> bool:
        """Whether `value` may be as good as `cut`, or `cut` is no better than guessing."""
        guessed = cut <= self.chance + 2 * self.standard_error(self.chance)
        return guessed or cut - value < self.standard_error(cut)


class Ladder:
    """The rungs of one arm of one study, with the values recorded at each.

    Recording is idempotent: a trial that reports a rung again (after its worker was lost) gets its
    first decision.
    """

    def __init__(
        self,
        max_epochs: int,
        grace_epochs: int,
        reduction_factor: int,
        noise: Noise | None = None,
    ) -> None:
        self.noise = noise
        self.reduction_factor = reduction_factor
        self.rungs = rungs(max_epochs, grace_epochs, reduction_factor)
        self._values: dict[int, list[float]] = {rung: [] for rung in self.rungs}  # ascending
        self._decided: dict[tuple[str, int], bool] = {}

    def values(self, rung: int) -> tuple[float, ...]:
        """The values recorded at a rung, ascending."""
        return tuple(self._values[rung])

    def record(self, trial: str, epoch: int, value: float) -> bool:
        """Record a trial's value (larger is better) and say whether it continues."""
        if epoch not in self._values:
            return True
        if (trial, epoch) not in self._decided:
            self._decided[trial, epoch] = self.would_continue(epoch, value)
            insort(self._values[epoch], value)
        return self._decided[trial, epoch]

    def would_continue(self, epoch: int, value: float) -> bool:
        """What `record` would return for a new value, without recording it."""
        if epoch not in self._values:
            return True
        values = self._values[epoch]
        larger = len(values) - bisect_right(values, value)
        places = max(1, (len(values) + 1) // self.reduction_factor)
        if larger < places:
            return True
        if self.noise is None or larger >= math.ceil(2 * (len(values) + 1) / 3):
            return False
        return self.noise.unclear(value, values[-places])
