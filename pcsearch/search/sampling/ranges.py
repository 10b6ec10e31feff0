"""The ranges that an arm searches now: the recipe's, adapted to its trials' results.

With `search.widen: auto`, after the start-up points, which all arms share:

- a learning rate that diverges lowers the upper end of its arm's range below itself;
- while no trial has learned anything, the lower end of the learning rate is a tenth of the stated
  one;
- from the middle of an arm's trials on, a range is widened once, at the end at which the arm is
  best: the learning rate by a factor of 3, the regulariser's own parameter by a factor of 2
  upwards and 5 downwards.

All of this follows from the trials so far, so a replay gets the same ranges.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from pcsearch.recipe.search_space import Number, Space, own_dimensions
from pcsearch.search.asha import Noise
from pcsearch.search.plan import ArmPlan, StudyPlan
from pcsearch.search.state import ArmState, CampaignState
from pcsearch.search.trial import Trial

_RATE = "lr"
_NEAR_END = 0.1
"""A range is widened if the arm's best value is within this fraction of an end."""

RATE_FACTOR, OWN_UP, OWN_DOWN = 3.0, 2.0, 5.0
_LEARNING_TRIALS = 2
"""Trials that must end at the accuracy of guessing before lower learning rates are tried."""

_LEARNERS = ("tpe", "gp")
"""Samplers that learn from trials. The others keep to the stated ranges."""


def current_space(state: CampaignState, study: StudyPlan, arm: ArmPlan) -> dict[str, Space]:
    """The ranges that the arm's next search trial is drawn from."""
    done = state.arms[study.id, arm.name]
    trials = done.trials["search"]
    plan = state.plan
    if plan.widen == "never" or plan.sampler not in _LEARNERS:
        return dict(arm.space)
    if len(trials) < plan.startup(study):
        return dict(arm.space)
    space = dict(arm.space)
    if 2 * len(trials) >= arm.trials:
        for key in (_RATE, *arm.own):
            if key in space and space[key].kind == "range":
                space[key] = _widened(key, space[key], done)
    if _RATE in space and space[_RATE].kind == "range":
        noise = Noise(max(1, study.images.val), study.guessing(plan.metric))
        space[_RATE] = _trainable(space[_RATE], trials, noise)
    return space


def searched_space(state: CampaignState, study: StudyPlan, arm: ArmPlan) -> dict[str, Space]:
    """The ranges of the arm's search trials: the stated ones, extended to the values tried.

    No trial searched what `current_space` opens after the last one. An upper end that divergence
    lowered does not count: no better configuration is expected beyond it.
    """
    trials = state.arms[study.id, arm.name].trials["search"]
    space = dict(arm.space)
    for key, stated in arm.space.items():
        tried = [trial.spec.config[key] for trial in trials if key in trial.spec.config]
        if stated.kind == "range" and tried:
            low, high = min(stated.low or 0, *tried), max(stated.high or 0, *tried)
            space[key] = replace(stated, low=low, high=high)
    return space


def _widened(key: str, space: Space, done: ArmState) -> Space:
    """The range, with the end next to the arm's best trial moved outwards."""
    from pcsearch.search.selection import position_in

    best = done.best(1)
    position = position_in(space, float(best[0].spec.config[key])) if best else None
    if position is None:
        return space
    up, down = (RATE_FACTOR, RATE_FACTOR) if key == _RATE else (OWN_UP, OWN_DOWN)
    if position >= 1 - _NEAR_END:
        stated = float(space.high or 0)
        return replace(space, high=max(stated, _within(key, stated * up)))
    if position <= _NEAR_END:
        return replace(space, low=float(space.low or 0) / down)
    return space


def _within(key: str, value: float) -> Number:
    """The value, limited to what the parameter may be: label smoothing stays below one."""
    own = own_dimensions().get(key)
    return min(value, 0.9 * own.limits.high) if own and own.limits.high_open else value


def _trainable(space: Space, trials: Sequence[Trial], noise: Noise) -> Space:
    """The learning rates below those that diverge; lower ones, too, while nothing is learned."""
    low, high = float(space.low or 0), float(space.high or 0)
    diverged = [t.spec.config[_RATE] for t in trials if t.state == "DIVERGED"]
    ended = [t for t in trials if t.state in ("COMPLETE", "PRUNED", "DIVERGED")]
    learned = [t.spec.config[_RATE] for t in ended if _has_learned(t, noise)]
    if not learned and len(ended) >= _LEARNING_TRIALS:
        low = low / 10
    best = max(learned, default=low)
    if ceilings := [rate for rate in diverged if rate > best]:
        high = min(high, math.sqrt(best * min(ceilings)))
    return replace(space, low=low, high=high) if low < high else space


def _has_learned(trial: Trial, noise: Noise) -> bool:
    """Whether a trial beat guessing by more than the scatter of its validation images."""
    guess = noise.chance + 2 * noise.standard_error(noise.chance)
    return any(result.value is not None and result.value > guess for result in trial.epochs)
