"""Which configurations go on: the finalists of an arm, then the one that is confirmed.

Only fully trained trials that saw whole batches compete, by the value of their last epoch (never
the best epoch). With finalists, a configuration's score is the mean over all splits it was trained
on. Ties go to the smaller λ.
"""

from __future__ import annotations

import math
from statistics import fmean
from typing import Literal

from pcsearch.recipe.space import Space
from pcsearch.search.arm_state import ArmState, Choice
from pcsearch.search.plan import ArmPlan
from pcsearch.search.ranking import last_value, rank
from pcsearch.search.trial import Trial

EDGE_FRACTION = 0.05
"""How near to an end of its range (as a fraction of the range) a value counts as at the edge."""


def choose(plan: ArmPlan, arm: ArmState, count: int, repeats: int) -> Choice | None:
    """The configuration with the best score, or None when no trial was fully trained.

    A finalist some of whose repeats failed ranks behind those that have them all: a mean over
    fewer, perhaps easier, splits does not compare.
    """
    candidates = arm.best(count if count and repeats else 1)
    if not candidates:
        return None
    scored = [(_scores(trial, arm), trial) for trial in candidates]
    values, best = min(scored, key=lambda item: rank(*item))
    return Choice(
        config=best.spec.config,
        source=best.spec.trial,
        score=fmean(values),
        values=tuple(values),
        edge=edge_of_range(plan, best),
    )


def edge_of_range(plan: ArmPlan, trial: Trial) -> Literal["low", "high"] | None:
    """Whether the arm's own parameter lies at an end of the range that was searched."""
    if plan.parameter is None or plan.parameter not in plan.space:
        return None
    position = _position(plan.space[plan.parameter], float(trial.spec.config[plan.parameter]))
    if position is None:
        return None
    if position <= EDGE_FRACTION:
        return "low"
    return "high" if position >= 1 - EDGE_FRACTION else None


def _position(space: Space, value: float) -> float | None:
    if space.kind == "choices" and space.choices and len(space.choices) > 1:
        ends = sorted(float(choice) for choice in space.choices)
        return {ends[0]: 0.0, ends[-1]: 1.0}.get(value, 0.5)
    if space.kind != "range" or space.low is None or space.high is None:
        return None
    if space.low == space.high:
        return None
    scale = math.log if space.log else float
    low, high = scale(space.low), scale(space.high)
    return float((scale(value) - low) / (high - low))


def _scores(trial: Trial, arm: ArmState) -> list[float]:
    repeats = [
        last_value(repeat)
        for repeat in arm.trials["finalists"]
        if repeat.spec.source == trial.spec.trial
        and repeat.state == "COMPLETE"
        and repeat.comparable
    ]
    return [last_value(trial), *repeats]
