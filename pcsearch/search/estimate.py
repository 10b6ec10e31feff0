"""How much a campaign will cost: of a plan before it starts, and of what is left while it runs.

Expected numbers take the order in which good and bad trials arrive as random, and no trial to
fail.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from pcsearch.search import budget
from pcsearch.search.asha import expected_epochs, rungs
from pcsearch.search.plan import ArmPlan, Plan, StudyPlan
from pcsearch.search.state import CampaignState


@dataclass(frozen=True)
class Level:
    """A level of the ladder: a rung, or the full budget; `trials` reach it, of one arm."""

    epoch: int
    trials: float


@dataclass(frozen=True)
class Work:
    """An amount of training, at most or expected.

    `search_epochs` is the same in units of one epoch over the images that search trials train on:
    a confirm epoch takes longer, as it sees the validation images as well.
    """

    epochs: float = 0.0
    search_epochs: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(self.epochs + other.epochs, self.search_epochs + other.search_epochs)


@dataclass(frozen=True)
class StudyEstimate:
    """A study's trials at most, by phase, and its epochs."""

    study: str
    search_trials: int
    finalist_trials: int
    confirm_trials: int
    at_most: Work
    expected: Work


@dataclass(frozen=True)
class Estimate:
    """A whole plan's trials at most, and its epochs."""

    studies: tuple[StudyEstimate, ...]
    trials: int
    at_most: Work
    expected: Work


def ladder(trials: int, plan: Plan) -> tuple[Level, ...]:
    """The levels of one arm's ladder and how many of its `trials` are expected to reach each."""
    levels = (*rungs(plan.max_epochs, plan.grace_epochs, plan.reduction_factor), plan.max_epochs)
    # With a shorter budget the rungs below it stay the same, so the epochs that one more level
    # adds are those of the trials that reach it.
    until = [
        expected_epochs(trials, level, plan.grace_epochs, plan.reduction_factor) for level in levels
    ]
    steps = pairwise(((0, 0.0), *zip(levels, until, strict=True)))
    return tuple(Level(to, (more - less) / (to - fro)) for (fro, less), (to, more) in steps)


def estimate(plan: Plan) -> Estimate:
    """Trials and epochs of a plan, at most and expected, without its time budget."""
    studies = tuple(_study(plan, study) for study in plan.studies)
    return Estimate(
        studies=studies,
        trials=sum(s.search_trials + s.finalist_trials + s.confirm_trials for s in studies),
        at_most=sum((study.at_most for study in studies), Work()),
        expected=sum((study.expected for study in studies), Work()),
    )


def training_seconds(work: Work, seconds_per_epoch: float) -> float:
    """Seconds of one trial after another, given those of one search epoch."""
    return budget.SLACK * work.search_epochs * seconds_per_epoch


def remaining_seconds(state: CampaignState, width: int) -> float | None:
    """Wall seconds that the campaign still takes; None while nothing has been measured.

    Running trials count to their full budget, those not asked yet for their expected epochs.
    """
    committed = budget.committed_seconds(state, width)
    if committed is None:
        return None
    if state.search_closed is not None:
        return committed
    waiting = sum(
        _waiting_trials(state, study, arm) * _expected_seconds(state, study, arm)
        for study in state.plan.studies
        for arm in study.arms
        if arm.trials
    )
    return committed + waiting / max(1, width)


def _waiting_trials(state: CampaignState, study: StudyPlan, arm: ArmPlan) -> int:
    """Search trials not asked yet, but for an arm's first, which is counted as certain."""
    return arm.trials - max(1, len(state.arms[study.id, arm.name].trials["search"]))


def _expected_seconds(state: CampaignState, study: StudyPlan, arm: ArmPlan) -> float:
    plan = state.plan
    epochs = expected_epochs(arm.trials, plan.max_epochs, plan.grace_epochs, plan.reduction_factor)
    share = epochs / (arm.trials * plan.max_epochs)
    return share * budget.full_trial_seconds(state, study)


def _study(plan: Plan, study: StudyPlan) -> StudyEstimate:
    searching = [arm for arm in study.arms if arm.trials]
    confirm = len(plan.confirm_seeds) * len(study.arms)
    confirmed = _confirm_work(plan, study, confirm)
    at_most, expected = confirmed, confirmed
    finalists = 0
    for arm in searching:
        configs = min(plan.finalist_configs, arm.trials)
        finalists += configs * plan.finalist_repeats
        full = (arm.trials + configs * plan.finalist_repeats) * plan.max_epochs
        at_most += Work(full, full)
        fully_trained = ladder(arm.trials, plan)[-1].trials
        likely = expected_epochs(
            arm.trials, plan.max_epochs, plan.grace_epochs, plan.reduction_factor
        )
        likely += min(configs, fully_trained) * plan.finalist_repeats * plan.max_epochs
        expected += Work(likely, likely)
    return StudyEstimate(
        study=study.id,
        search_trials=sum(arm.trials for arm in searching),
        finalist_trials=finalists,
        confirm_trials=confirm,
        at_most=at_most,
        expected=expected,
    )


def _confirm_work(plan: Plan, study: StudyPlan, trials: int) -> Work:
    epochs = trials * plan.confirm_epochs
    return Work(epochs, epochs * study.images.train / max(1, study.images.fit))
