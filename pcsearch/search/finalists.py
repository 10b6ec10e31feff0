"""Finalists: the configurations that every arm retrains before one of them is chosen.

The arms exchange them: each trains the best configurations of *all* arms of its study, on the same
further splits and seeds. So an arm whose search had bad luck still gets the learning rate that
another one found, and a difference between arms is not one between two searches. Fresh repeats
alone score a configuration: the value by which the search found it is the largest of many noisy
ones. A configuration that was once retrained stays in the contest when the search is widened.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

from pcsearch.search import configs
from pcsearch.search.plan import ArmPlan, StudyPlan
from pcsearch.search.ranking import last_value
from pcsearch.search.state import CampaignState
from pcsearch.search.trial import Config, Trial


@dataclass(frozen=True)
class Candidate:
    """A configuration that an arm retrains.

    Attributes:
        source: The search trial whose hyperparameters it has, perhaps another arm's.
        config: Those hyperparameters with this arm's own parameter; any seed and split.
        repeats: Its trials so far, in the order of their splits.
    """

    source: Trial
    config: Config
    repeats: tuple[Trial, ...]

    @property
    def scores(self) -> list[float]:
        """Last epochs' metric, in percent, of the repeats fully trained on whole batches."""
        return [
            last_value(trial)
            for trial in self.repeats
            if trial.state == "COMPLETE" and trial.comparable
        ]

    @property
    def mean(self) -> float | None:
        """Mean of `scores`; None where none of the repeats was fully trained."""
        return fmean(self.scores) if self.scores else None


def candidates(state: CampaignState, study: StudyPlan, arm: ArmPlan) -> list[Candidate]:
    """What the arm retrains: its own best configurations, then those of the study's other arms.

    Another arm's whose shared hyperparameters are those of one before it adds nothing: start-up
    points are shared between arms. Neither does a grid point of its own that came round again.
    Another arm's configuration gets this arm's own parameter from its best search trial, or the
    middle of its range where none was fully trained.
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
    """Each arm's best search trials and those retrained before, the arm's own first."""
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
    """Whether two configurations share their hyperparameters, and of `own` ones the arm's, too."""
    if own and arm.parameter is not None and one[arm.parameter] != other[arm.parameter]:
        return False
    return _shared(one, arm) == _shared(other, arm)


def _shared(config: Config, arm: ArmPlan) -> dict[str, object]:
    """The hyperparameters that are not the arm's own, without seeds."""
    own = ("seed", "split", "lambda", "lambda_over_n", arm.parameter)
    return {key: value for key, value in config.items() if key not in own}


def _split(trial: Trial) -> int:
    return int(trial.spec.config["split"])
