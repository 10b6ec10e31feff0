"""How simulated trials learn: by synthetic learning curves, or like recorded trials."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping
from statistics import fmean
from typing import Protocol

from pcsearch.recipe.search_space import Space
from pcsearch.search.plan import Plan, derive_seed
from pcsearch.search.state import CampaignState
from pcsearch.search.trial import Config, Trial, TrialSpec

JITTER = 0.05
"""Standard deviation of an epoch's time, as a fraction of it."""


class Curves(Protocol):
    """What trials measure, and how long they take. Repeated questions get the same answer."""

    def value(self, spec: TrialSpec, epoch: int) -> float:
        """The metric after an epoch, in percent."""
        ...

    def hits(self, spec: TrialSpec) -> str | None:
        """A confirm trial's hits, in the journal's form; None if unknown."""
        ...

    def seconds_per_image(self, study: str) -> float:
        """Seconds of an epoch per image that it trains on."""
        ...


class SyntheticCurves:
    """Learning curves that rise from chance to a ceiling by a power law.

    `value(e) = ceiling − (ceiling − chance)·(1 + e/τ)^−1.5` plus noise.

    - The best value of each dimension is drawn at random, for each study. The ceiling falls with
      the square of the distance to it.
    - A regulariser's arm gains or loses up to two points by itself.
    - Noise has a standard deviation of 0.8 points per trial and 0.4 points per epoch.

    Args:
        plan: Gives studies and ranges.
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
        """Where in its range the best value of a dimension is, from 0 to 1."""
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
    """Where in its range a value is, from 0 to 1; None for a dimension without a range."""
    if space.kind != "range" or space.low is None or space.high is None or key not in config:
        return None
    low, high, value = float(space.low), float(space.high), float(config[key])
    if low == high:
        return None
    if space.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (value - low) / (high - low)


_ArmKey = tuple[str, str]


class ReplayedCurves:
    """Learning curves of a recorded run.

    - A trial with a recorded configuration and seed repeats the recorded values.
    - Any other trial learns like the recorded trial of its study and arm with the nearest
      configuration (by the distance of their positions in the ranges).
    - If that trial was stopped early, the mean gains of those that continued follow.
    - A study or arm without recorded trials uses `otherwise`.

    Args:
        state: The recorded campaign.
        otherwise: Curves for all that was not recorded.
    """

    def __init__(self, state: CampaignState, otherwise: Curves) -> None:
        self._otherwise = otherwise
        self._seconds = {
            study: trained.seconds / trained.images
            for study, trained in state.trained.items()
            if trained.images
        }
        self._spaces = {(s.id, a.name): a.space for s in state.plan.studies for a in s.arms}
        self._trials: dict[_ArmKey, list[Trial]] = {}
        self._exact: dict[tuple[_ArmKey, str], Trial] = {}
        for trial in state.trials.values():
            arm_key = (trial.spec.study, trial.spec.arm)
            if trial.last_value is not None and trial.comparable:
                self._trials.setdefault(arm_key, []).append(trial)
                self._exact[arm_key, _key(trial.spec)] = trial
        self._tests = _tests(state)
        self._gains = {arm_key: _gains(trials) for arm_key, trials in self._trials.items()}
        self._nearest: dict[str, Trial] = {}

    @property
    def studies(self) -> frozenset[str]:
        """Studies with at least one recorded curve."""
        return frozenset(study for study, _ in self._trials)

    def value(self, spec: TrialSpec, epoch: int) -> float:
        arm_key = (spec.study, spec.arm)
        test = self._tests.get((arm_key, spec.config["seed"]))
        if spec.phase == "confirm" and test is not None:
            return test
        if arm_key not in self._trials:
            return self._otherwise.value(spec, epoch)
        trial = self._exact.get((arm_key, _key(spec))) or self._like(arm_key, spec)
        return _extended(trial, epoch, self._gains[arm_key])

    def hits(self, spec: TrialSpec) -> str | None:
        trial = self._exact.get(((spec.study, spec.arm), _key(spec)))
        return None if trial is None else trial.hits

    def seconds_per_image(self, study: str) -> float:
        if study in self._seconds:
            return self._seconds[study]
        backbone = study.partition("/")[2]
        same = [s for name, s in self._seconds.items() if name.partition("/")[2] == backbone]
        known = same or list(self._seconds.values())
        return fmean(known) if known else self._otherwise.seconds_per_image(study)

    def _like(self, arm_key: _ArmKey, spec: TrialSpec) -> Trial:
        if spec.trial not in self._nearest:
            space = self._spaces[arm_key]
            self._nearest[spec.trial] = min(
                self._trials[arm_key],
                key=lambda trial: (
                    _distance(space, trial.spec.config, spec.config),
                    -len(trial.epochs),
                ),
            )
        return self._nearest[spec.trial]


def _key(spec: TrialSpec) -> str:
    return repr(sorted((key, value) for key, value in spec.config.items()))


def _distance(
    space: Mapping[str, Space], one: Mapping[str, float], other: Mapping[str, float]
) -> float:
    total = 0.0
    for key, of in space.items():
        here, there = position(of, one, key), position(of, other, key)
        if here is not None and there is not None:
            total += (here - there) ** 2
        elif one.get(key) != other.get(key):
            total += 1.0
    return total


def _gains(trials: list[Trial]) -> dict[int, float]:
    """The mean change of the metric in each epoch, over the recorded trials."""
    steps: dict[int, list[float]] = {}
    for trial in trials:
        values = [result.value or 0.0 for result in trial.epochs]
        for epoch, (before, after) in enumerate(itertools.pairwise(values), start=2):
            steps.setdefault(epoch, []).append(after - before)
    return {epoch: fmean(of) for epoch, of in steps.items()}


def _extended(trial: Trial, epoch: int, gains: Mapping[int, float]) -> float:
    last = trial.last_epoch
    if epoch <= last:
        return float(trial.epochs[epoch - 1].value or 0.0)
    gained = sum(gains.get(later, 0.0) for later in range(last + 1, epoch + 1))
    return min(100.0, max(0.0, float(trial.last_value or 0.0) + gained))


def _tests(state: CampaignState) -> dict[tuple[_ArmKey, int], float]:
    metric = state.plan.metric
    return {
        ((trial.spec.study, trial.spec.arm), trial.spec.config["seed"]): trial.test[metric]
        for trial in state.trials.values()
        if trial.test is not None and metric in trial.test
    }
