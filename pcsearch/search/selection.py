"""Which configurations of an arm are retrained as finalists, and which one is confirmed.

Only fully trained trials that saw whole batches compete, by the value of their last epoch (never
the best epoch). With finalists, a configuration's score is the mean over its fresh repeats. Ties go
to the smaller λ.

The arms exchange finalists: each arm retrains the best configurations of *all* arms of its study,
on the same further splits and seeds. So an arm with an unlucky search still gets the learning rate
that another one found. The difference between arms is not one between two searches.

Only fresh repeats score a configuration: its search value is the largest of many noisy ones. A
retrained configuration still competes after the search is widened.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from pcsearch.recipe.search_space import SHARED, Space
from pcsearch.search import trial_config as configs
from pcsearch.search.plan import ArmPlan, StudyPlan
from pcsearch.search.state import ArmState, CampaignState, Choice
from pcsearch.search.trial import Config, Trial, last_value, rank

Edge = Literal["low", "high"]
_EDGE_FRACTION = 0.05
"""A value within this fraction of its range from an end counts as at the edge."""


def choose(
    plan: ArmPlan,
    arm: ArmState,
    retrained: Sequence[Candidate] | None,
    spaces: Mapping[str, Space],
) -> Choice | None:
    """The configuration with the best score; None if none was fully trained.

    A finalist with failed repeats ranks behind those with all repeats: a mean over fewer, perhaps
    easier, splits is not comparable.

    Args:
        plan: The arm's plan.
        arm: Its state.
        retrained: Its finalists; None without finalists, which takes the best search trial.
        spaces: The ranges that its trials searched.
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
    """The searched values at an end of the range that was searched, each with that end."""
    found: dict[str, Edge] = {}
    for key, space in spaces.items():
        position = position_in(space, float(config[key])) if key in config else None
        if position is not None and position <= _EDGE_FRACTION:
            found[key] = "low"
        elif position is not None and position >= 1 - _EDGE_FRACTION:
            found[key] = "high"
    return found


def nothing_beyond(key: str, end: Edge, space: Space) -> bool:
    """Whether an end is no reason to look further.

    Either the hyperparameter cannot go beyond it (such as 0), or it is one of only two stated
    choices: no value between them could have been better.
    """
    if space.kind == "choices" and len(space.choices or ()) <= 2:
        return True
    least = SHARED[key].limits.low if key in SHARED else 0
    return end == "low" and space.lowest <= least


def position_in(space: Space, value: float) -> float | None:
    """Where in its range a value is, from 0 to 1; None for a space without ends."""
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


@dataclass(frozen=True)
class Candidate:
    """A configuration that an arm retrains.

    Attributes:
        source: The search trial with these hyperparameters, perhaps another arm's.
        config: These hyperparameters with this arm's own parameter; any seed and split.
        repeats: Its trials so far, in the order of their splits.
    """

    source: Trial
    config: Config
    repeats: tuple[Trial, ...]

    @property
    def scores(self) -> list[float]:
        """The last epoch's metric, in percent, of each repeat fully trained on whole batches."""
        return [
            last_value(trial)
            for trial in self.repeats
            if trial.state == "COMPLETE" and trial.comparable
        ]

    @property
    def mean(self) -> float | None:
        """Mean of `scores`; None if no repeat was fully trained."""
        return fmean(self.scores) if self.scores else None


def candidates(state: CampaignState, study: StudyPlan, arm: ArmPlan) -> list[Candidate]:
    """What the arm retrains: its own best configurations, then those of the study's other arms.

    Duplicates are left out. Arms share start-up points, so another arm's configuration may have the
    shared hyperparameters of an earlier candidate. A grid may repeat the arm's own points.

    Another arm's configuration gets this arm's own parameter from the arm's best search trial, or
    the middle of the range if none was fully trained.
    """
    done = state.arms[study.id, arm.name]
    retrained: dict[str, list[Trial]] = {}
    for trial in done.trials["finalists"]:
        retrained.setdefault(trial.spec.source or "", []).append(trial)
    found: list[Candidate] = []
    for source in _sources(state, study, arm):
        repeats = tuple(sorted(retrained.get(source.spec.trial, ()), key=_split))
        if repeats:
            config = repeats[0].spec.config
        elif source.spec.arm == arm.name:
            config = source.spec.config
        else:
            best = done.best(1)
            incumbent = best[0].spec.config if best else None
            config = configs.adopted(source.spec.config, arm, incumbent, study.num_classes)
        own = source.spec.arm == arm.name
        same = any(_same(config, one.config, arm, own=own) for one in found)
        if repeats or not same:
            found.append(Candidate(source, config, repeats))
    return found


def _sources(state: CampaignState, study: StudyPlan, arm: ArmPlan) -> Iterator[Trial]:
    """Each arm's best search trials and those retrained before; this arm's own come first."""
    names = [arm.name, *(other.name for other in study.arms if other.name != arm.name)]
    seen: set[str] = set()
    for name in names:
        done = state.arms[study.id, name]
        best = done.best(state.plan.finalist_configs)
        before = [
            state.trials[trial.spec.source]
            for other in study.arms
            for trial in state.arms[study.id, other.name].trials["finalists"]
            if trial.spec.source is not None and state.trials[trial.spec.source].spec.arm == name
        ]
        for trial in (*best, *before):
            if trial.spec.trial not in seen:
                seen.add(trial.spec.trial)
                yield trial


def _same(one: Config, other: Config, arm: ArmPlan, *, own: bool) -> bool:
    """Whether two configurations share their hyperparameters; if `own`, also the arm's own."""
    if own and any(one[name] != other[name] for name in arm.own):
        return False
    return _shared(one, arm) == _shared(other, arm)


def _shared(config: Config, arm: ArmPlan) -> dict[str, object]:
    """The hyperparameters except the arm's own, without seeds."""
    own = ("seed", "split", "lambda", "lambda_over_n", *arm.own)
    return {key: value for key, value in config.items() if key not in own}


def _split(trial: Trial) -> int:
    return int(trial.spec.config["split"])
