"""Which configuration of an arm is confirmed.

Only fully trained trials that saw whole batches compete, by the value of their last epoch (never
the best epoch). With finalists, a configuration's score is the mean over its fresh repeats. Ties go
to the smaller λ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Literal

from pcsearch.recipe.space import SHARED, Space
from pcsearch.search.arm_state import ArmState, Choice
from pcsearch.search.finalists import Candidate
from pcsearch.search.plan import ArmPlan
from pcsearch.search.ranking import last_value, rank
from pcsearch.search.trial import Config

Edge = Literal["low", "high"]
EDGE_FRACTION = 0.05
"""How near to an end of its range (as a fraction of the range) a value counts as at the edge."""


def choose(
    plan: ArmPlan,
    arm: ArmState,
    retrained: Sequence[Candidate] | None,
    spaces: Mapping[str, Space],
) -> Choice | None:
    """The configuration with the best score, or None when none was fully trained.

    A finalist some of whose repeats failed ranks behind those that have them all: a mean over
    fewer, perhaps easier, splits does not compare.

    Args:
        plan: The arm's plan.
        arm: Its state.
        retrained: Its finalists; None where there are to be none, and the best search trial is it.
        spaces: The ranges that were searched, as far as its trials went.
    """
    if retrained is None:
        scored = [([last_value(trial)], trial, trial.spec.config) for trial in arm.best(1)]
    else:
        scored = [(one.scores, one.source, one.config) for one in retrained if one.scores]
    if not scored:
        return None
    values, source, config = min(scored, key=lambda item: rank(item[0], item[2], item[1]))
    edges = edges_of_ranges(spaces, config)
    return Choice(
        config=config,
        source=source.spec.trial,
        score=fmean(values),
        values=tuple(values),
        edge=edges.get(plan.parameter or ""),
        edges=edges,
    )


def edges_of_ranges(spaces: Mapping[str, Space], config: Config) -> dict[str, Edge]:
    """The searched values that lie at an end of the range that was searched, with that end."""
    found: dict[str, Edge] = {}
    for key, space in spaces.items():
        position = position_in(space, float(config[key])) if key in config else None
        if position is not None and position <= EDGE_FRACTION:
            found[key] = "low"
        elif position is not None and position >= 1 - EDGE_FRACTION:
            found[key] = "high"
    return found


def nothing_beyond(key: str, end: Edge, space: Space) -> bool:
    """Whether an end is no reason to look further.

    It is the end of what the hyperparameter can be, such as 0, or one of two values that were
    asked for: there is no value between them that could have been better.
    """
    if space.kind == "choices" and len(space.choices or ()) <= 2:
        return True
    least = SHARED[key].minimum if key in SHARED else 0
    return end == "low" and space.lowest <= least


def position_in(space: Space, value: float) -> float | None:
    """Where in a range a value lies, 0 to 1 from end to end; None for what has no ends."""
    if space.kind == "choices" and space.choices and len(space.choices) > 1:
        ends = sorted(float(choice) for choice in space.choices)
        return {ends[0]: 0.0, ends[-1]: 1.0}.get(value, 0.5)
    if space.kind != "range" or space.low is None or space.high is None:
        return None
    if space.low == space.high or (space.log and value <= 0):
        return None
    scale = math.log if space.log else float
    low, high = scale(space.low), scale(space.high)
    return float((scale(value) - low) / (high - low))
