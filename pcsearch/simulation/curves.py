"""How simulated trials learn: a parametric family of learning curves."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Protocol

from pcsearch.recipe.space import Space
from pcsearch.search.plan import Plan, derive_seed
from pcsearch.search.trial import Config, TrialSpec

JITTER = 0.05
"""Standard deviation of an epoch's time, as a fraction of it."""


class Curves(Protocol):
    """What trials measure, and how long they take; the same answer whenever it is asked."""

    def value(self, spec: TrialSpec, epoch: int) -> float:
        """The metric after an epoch, in percent."""
        ...

    def hits(self, spec: TrialSpec) -> str | None:
        """Which test images a confirm trial names right, as the journal holds it; None: unknown."""
        ...

    def seconds_per_image(self, study: str) -> float:
        """Seconds that an epoch takes for each image it trains on."""
        ...


class Family:
    """Learning curves that rise from chance to a ceiling by a power law.

    `value(e) = ceiling − (ceiling − chance)·(1 + e/τ)^−1.5` plus noise. The ceiling lies by a
    parabola below that of the best configuration, which is drawn at random for each study and
    dimension; the regulariser's arm may gain or lose up to two points by itself. Noise is a
    trial's own (standard deviation 0.8 points) and an epoch's (0.4 points).

    Args:
        plan: Its studies and ranges.
        seed: Other seeds draw other studies.
        images_per_second: How fast one trial trains.
    """

    def __init__(self, plan: Plan, seed: int, images_per_second: float) -> None:
        self._seed = seed
        self._seconds = 1.0 / images_per_second
        self._spaces = {(s.id, a.name): a.space for s in plan.studies for a in s.arms}
        self._chance = {study.id: 100.0 / study.num_classes for study in plan.studies}
        self._drawn: dict[tuple[str, ...], float] = {}

    def value(self, spec: TrialSpec, epoch: int) -> float:
        ceiling, chance = self._ceiling(spec), self._chance[spec.study]
        pace = 0.5 + 1.5 * self._draw("pace", spec.study)
        rise = 1 - (1 + epoch / pace) ** -1.5
        generator = random.Random(
            derive_seed(self._seed, spec.study, spec.arm, spec.config["seed"], epoch)
        )
        noise = 0.4 * generator.gauss(0, 1)
        return float(min(100.0, max(0.0, chance + (ceiling - chance) * rise + noise)))

    def seconds_per_image(self, study: str) -> float:
        return self._seconds

    def hits(self, spec: TrialSpec) -> str | None:
        return None

    def best(self, study: str, key: str) -> float:
        """Where in its range the best value of a dimension lies, from 0 to 1."""
        return self._draw("best", study, key)

    def _ceiling(self, spec: TrialSpec) -> float:
        ceiling = 60 + 35 * self._draw("ceiling", spec.study)
        if spec.arm != "control":
            ceiling += 4 * self._draw("gain", spec.study, spec.arm) - 2
        for key, space in self._spaces[spec.study, spec.arm].items():
            where = position(space, spec.config, key)
            if where is not None:
                ceiling -= 30 * (where - self.best(spec.study, key)) ** 2
        own = random.Random(derive_seed(self._seed, spec.study, spec.arm, spec.config["seed"]))
        return ceiling + 0.8 * own.gauss(0, 1)

    def _draw(self, *what: str) -> float:
        if what not in self._drawn:
            self._drawn[what] = random.Random(derive_seed(self._seed, *what)).random()
        return self._drawn[what]


def position(space: Space, config: Config | Mapping[str, float], key: str) -> float | None:
    """Where in its range a value lies, from 0 to 1; None for a dimension that is no range."""
    if space.kind != "range" or space.low is None or space.high is None or key not in config:
        return None
    low, high, value = float(space.low), float(space.high), float(config[key])
    if low == high:
        return None
    if space.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (value - low) / (high - low)
