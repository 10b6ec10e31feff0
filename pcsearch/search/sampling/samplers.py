"""Which values to try next: Optuna's ask and tell, as a pure function of an arm's history.

Each ask rebuilds the Optuna study from the history, with a sampler seeded by (campaign seed, study,
arm, index). So asking again after a restart gives the same answer, and no sampler state is stored.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from pcsearch.recipe.search_space import SHARED, Space
from pcsearch.search.plan import SHARED_KEYS, ArmPlan, Plan, derive_seed
from pcsearch.search.state import ArmState
from pcsearch.search.trial import Trial

if TYPE_CHECKING:
    import optuna


class OneQuestion(InMemoryStorage):
    """An Optuna storage with trials that are not copied, and one trial that is asked.

    `Study.add_trials` deep-copies and checks each trial, which takes longer than the answer.

    Args:
        shown: Earlier trials, in the order of their numbers.
        number: The number of the asked trial, higher than all of these.
    """

    def __init__(self, shown: Sequence[FrozenTrial], number: int) -> None:
        super().__init__()
        self._shown = list(shown)
        self._asked = FrozenTrial(
            number=number,
            trial_id=number,
            state=TrialState.RUNNING,
            value=None,
            datetime_start=None,
            datetime_complete=None,
            params={},
            distributions={},
            user_attrs={},
            system_attrs={},
            intermediate_values={},
        )

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        return int(self._asked.number)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self._asked

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        trials = [t for t in (*self._shown, self._asked) if states is None or t.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        value = distribution.to_external_repr(param_value_internal)
        self._replace(
            params={**self._asked.params, param_name: value},
            distributions={**self._asked.distributions, param_name: distribution},
        )

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._replace(system_attrs={**self._asked.system_attrs, key: value})

    def _replace(self, **changes: Any) -> None:
        """Copy first: a sampler may hold the old trial, as with Optuna's own storage."""
        self._asked = copy.copy(self._asked)
        for name, value in changes.items():
            setattr(self._asked, name, value)


BEST, LATEST = 25, 75
"""The trials that a sampler sees of an arm with more trials than both together."""


def propose(
    plan: Plan,
    study_id: str,
    arm: ArmPlan,
    index: int,
    history: Sequence[Trial],
    space: Mapping[str, Space] | None = None,
) -> dict[str, Any]:
    """The values of the arm's search dimensions for its trial number `index`.

    `history` holds the earlier trials that the sampler sees (`seen`). `space` holds the ranges to
    draw from; by default the plan's.

    Start-up trials are points of a scrambled Sobol sequence, which fill the ranges evenly. Every
    arm starts from the same points in the hyperparameters that it shares with the control. The
    study's start points, from earlier runs, replace the first of them.
    """
    ranges = arm.space if space is None else space
    distributions = {key: _distribution(key, of) for key, of in ranges.items()}
    if not distributions:
        return {}
    if plan.sampler == "grid":
        return grid_point(arm, index)
    stated = plan.study(study_id)
    if index < len(stated.start_points):
        return dict(stated.start_points[index].values[arm.name])
    if plan.sampler == "qmc" or (plan.sampler != "random" and index < plan.startup(stated)):
        return _qmc_point(derive_seed(plan.seed, study_id), distributions, arm, index)
    study = _study(plan, study_id, arm, index, history, distributions)
    return dict(study.ask(fixed_distributions=distributions).params)


def seen(arm: ArmState) -> list[Trial]:
    """The search trials that a sampler sees of an arm: all, or of many the best and the latest.

    Optuna's time for an answer grows with the trials it sees (5 ms for 100, 44 ms for 1,000). With
    the best 25 and the latest 75, its answers were about as good as with all. See
    benchmarks/README.md.
    """
    search = arm.trials["search"]
    latest = search[-LATEST:]
    if len(search) <= BEST + LATEST:
        return search
    first = latest[0].spec.index
    older = [trial for trial in arm.best(BEST) if trial.spec.index < first]
    return sorted(older, key=lambda trial: trial.spec.index) + latest


def frozen_trial(
    trial: Trial, distributions: Mapping[str, BaseDistribution], chance: float = 0.0
) -> optuna.trial.FrozenTrial:
    """A trial as Optuna knows it: stopped trials are PRUNED, values keep their epochs.

    A diverged trial counts as stopped with the value of guessing, `chance` in percent. The sampler
    would ignore a failure, and propose diverging values again.
    """
    from optuna.trial import FrozenTrial, TrialState

    state = {
        "COMPLETE": TrialState.COMPLETE,
        "PRUNED": TrialState.PRUNED,
        "DIVERGED": TrialState.PRUNED,
        "FAILED": TrialState.FAIL,
        "RUNNING": TrialState.RUNNING,
    }[trial.state]
    values = {result.epoch: result.value for result in trial.epochs if result.value is not None}
    if trial.state == "DIVERGED":
        values = {1: chance}  # among stopped trials, TPE ranks those of the fewest epochs last
    told = trial.state in ("COMPLETE", "PRUNED")
    return FrozenTrial(
        number=trial.spec.index,
        trial_id=trial.spec.index,
        state=state,
        value=chance if trial.state == "DIVERGED" else trial.last_value if told else None,
        datetime_start=None,
        datetime_complete=None,
        params={key: _inside(trial.spec.config[key], of) for key, of in distributions.items()},
        distributions=dict(distributions),
        user_attrs={},
        system_attrs={},
        intermediate_values=values,
    )


def _inside(value: Any, distribution: BaseDistribution) -> Any:
    """The value, clipped to the range: ranges change while an arm searches."""
    low, high = getattr(distribution, "low", None), getattr(distribution, "high", None)
    return value if low is None or high is None else min(max(value, low), high)


def _study(
    plan: Plan,
    study_id: str,
    arm: ArmPlan,
    index: int,
    history: Sequence[Trial],
    distributions: Mapping[str, BaseDistribution],
) -> optuna.Study:
    import optuna

    startup = plan.sampler == "random"
    seed = derive_seed(plan.seed, study_id, "" if startup else arm.name, index)
    chance = plan.study(study_id).guessing(plan.metric)
    optuna.logging.set_verbosity(logging.ERROR)
    shown = () if startup else history  # random points need no history
    return optuna.create_study(
        direction="maximize",
        sampler=_sampler("random" if startup else plan.sampler, seed),
        storage=OneQuestion([frozen_trial(trial, distributions, chance) for trial in shown], index),
    )


def _sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    from optuna import samplers

    from pcsearch.search.sampling.tpe_options import tpe_options

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experimental features, and deprecated options
        if name == "gp":
            return samplers.GPSampler(seed=seed, n_startup_trials=1, deterministic_objective=False)
        if name == "tpe":
            return samplers.TPESampler(seed=seed, **tpe_options())
        return samplers.RandomSampler(seed=seed)


def _distribution(key: str, space: Space) -> BaseDistribution:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if space.kind == "choices":
        return CategoricalDistribution(tuple(space.choices or ()))
    if space.kind == "fixed":
        return CategoricalDistribution((space.value,))
    if space.low is None or space.high is None:
        raise ValueError(f"{key}: a range needs low and high")
    if key in SHARED and SHARED[key].whole:
        return IntDistribution(int(space.low), int(space.high), log=space.log)
    return FloatDistribution(float(space.low), float(space.high), log=space.log)


def grid_point(arm: ArmPlan, index: int) -> dict[str, Any]:
    """Point `index` of the stated grid, in order. After its last point, an arm starts over."""
    axes = [
        space.choices if space.kind == "choices" else (space.value,) for space in arm.space.values()
    ]
    point = []
    for axis in reversed([axis or () for axis in axes]):  # the last axis changes fastest
        index, place = divmod(index, len(axis))
        point.append(axis[place])
    return dict(zip(arm.space, reversed(point), strict=True))


def _qmc_point(
    seed: int, distributions: Mapping[str, BaseDistribution], arm: ArmPlan, index: int
) -> dict[str, Any]:
    """Point `index` of one scrambled Sobol sequence that all arms of a study share.

    Every arm samples the shared dimensions and one more: its own, or one that is discarded. So the
    shared coordinates are the same in each. Further dimensions of its own come from a second
    sequence.
    """
    from optuna.distributions import FloatDistribution

    shared = {key: distributions[key] for key in SHARED_KEYS if key in distributions}
    own = [key for key in distributions if key not in shared]
    joint = {**shared, "own": distributions[own[0]] if own else FloatDistribution(0.0, 1.0)}
    point = _sobol_point(seed, joint, index)
    if own:
        point[own[0]] = point["own"]
    if further := {key: distributions[key] for key in own[1:]}:
        point |= _sobol_point(derive_seed(seed, "further"), further, index)
    return {key: point[key] for key in distributions}


def _sobol_point(
    seed: int, distributions: Mapping[str, BaseDistribution], index: int
) -> dict[str, Any]:
    """Point `index` of a scrambled Sobol sequence over `distributions`."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampler = optuna.samplers.QMCSampler(seed=seed, scramble=True)
    # Optuna counts points per study, but each ask has a new study
    sampler._find_sample_id = lambda study, search_space: index  # type: ignore[method-assign]
    optuna.logging.set_verbosity(logging.ERROR)
    study = optuna.create_study(sampler=sampler)
    blank = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING)
    return sampler.sample_relative(study, blank, dict(distributions))
