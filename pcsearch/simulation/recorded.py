"""How simulated trials learn: as those of a run that was recorded did."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from statistics import fmean

from pcsearch.recipe.space import Space
from pcsearch.search.state import CampaignState
from pcsearch.search.trial import Trial, TrialSpec
from pcsearch.simulation.curves import Curves, position

Place = tuple[str, str]


class Recorded:
    """Learning curves of a recorded run.

    A trial with a configuration and seed that were recorded repeats what was measured then. Any
    other learns as the recorded trial of its study and arm whose configuration is nearest (by the
    distance of their positions in the ranges). Where that one was stopped early, the
    mean gains of those that went on follow. What a study or an arm was not recorded for comes from
    `otherwise`.

    Args:
        state: The recorded campaign.
        otherwise: What studies do that it has not.
    """

    def __init__(self, state: CampaignState, otherwise: Curves) -> None:
        self._otherwise = otherwise
        self._seconds = {
            study: trained.seconds / trained.images
            for study, trained in state.trained.items()
            if trained.images
        }
        self._spaces = {(s.id, a.name): a.space for s in state.plan.studies for a in s.arms}
        self._trials: dict[Place, list[Trial]] = {}
        self._exact: dict[tuple[Place, str], Trial] = {}
        for trial in state.trials.values():
            place = (trial.spec.study, trial.spec.arm)
            if trial.last_value is not None and trial.comparable:
                self._trials.setdefault(place, []).append(trial)
                self._exact[place, _key(trial.spec)] = trial
        self._tests = _tests(state)
        self._gains = {place: _gains(trials) for place, trials in self._trials.items()}
        self._nearest: dict[str, Trial] = {}

    @property
    def studies(self) -> frozenset[str]:
        """Studies with at least one recorded curve."""
        return frozenset(study for study, _ in self._trials)

    def value(self, spec: TrialSpec, epoch: int) -> float:
        place = (spec.study, spec.arm)
        test = self._tests.get((place, spec.config["seed"]))
        if spec.phase == "confirm" and test is not None:
            return test
        if place not in self._trials:
            return self._otherwise.value(spec, epoch)
        trial = self._exact.get((place, _key(spec))) or self._like(place, spec)
        return _extended(trial, epoch, self._gains[place])

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

    def _like(self, place: Place, spec: TrialSpec) -> Trial:
        if spec.trial not in self._nearest:
            space = self._spaces[place]
            self._nearest[spec.trial] = min(
                self._trials[place],
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
    """The mean step of the metric that each epoch brought, over those that were recorded."""
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


def _tests(state: CampaignState) -> dict[tuple[Place, int], float]:
    metric = state.plan.metric
    return {
        ((trial.spec.study, trial.spec.arm), trial.spec.config["seed"]): trial.test[metric]
        for trial in state.trials.values()
        if trial.test is not None and metric in trial.test
    }
