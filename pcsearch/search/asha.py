"""Asynchronous successive halving (Li et al., MLSys 2020), in its stopping form.

Rungs lie at `grace_epochs · η^i < max_epochs`. A trial that reaches a rung continues if and only if
fewer than `max(1, ⌊k/η⌋)` of the `k` values recorded there so far, its own included, are strictly
larger. The best value at a rung therefore always continues, and one trial at least reaches
`max_epochs` unless it fails.
"""

from __future__ import annotations

from bisect import bisect_right, insort


def rungs(max_epochs: int, grace_epochs: int, reduction_factor: int) -> tuple[int, ...]:
    """The epochs at which trials are compared, ascending: (1, 3) for 9 epochs, grace 1, η = 3."""
    levels = []
    epoch = grace_epochs
    while epoch < max_epochs:
        levels.append(epoch)
        epoch *= reduction_factor
    return tuple(levels)


class Ladder:
    """The rungs of one arm of one study, with the values recorded at each.

    Records are idempotent: a trial that reports a rung again (after its worker was lost) gets the
    decision it got the first time.
    """

    def __init__(self, max_epochs: int, grace_epochs: int, reduction_factor: int) -> None:
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
        """What `record` would answer to a new value, without recording it."""
        if epoch not in self._values:
            return True
        values = self._values[epoch]
        larger = len(values) - bisect_right(values, value)
        return larger < max(1, (len(values) + 1) // self.reduction_factor)
