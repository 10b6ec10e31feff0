"""From a campaign's state to its summary and its list of trials."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from pcsearch.recipe.arms import CONTROL
from pcsearch.results.notes import notes
from pcsearch.results.objects import (
    ArmSummary,
    EpochCounts,
    Interruptions,
    Scores,
    StudySummary,
    Summary,
    TrialCounts,
)
from pcsearch.results.published import published
from pcsearch.results.stats import Gain, mean_std, paired_gain
from pcsearch.search.arm_state import ArmState
from pcsearch.search.plan import ArmPlan, Plan, StudyPlan
from pcsearch.search.state import CampaignState
from pcsearch.search.trial import Config, Trial

__all__ = [
    "ArmSummary",
    "EpochCounts",
    "Scores",
    "StudySummary",
    "Summary",
    "TrialCounts",
    "full_budget",
    "summarise",
    "trial_rows",
]


def summarise(state: CampaignState, status: str | None = None) -> Summary:
    """What is known of a campaign, at its end or while it runs.

    Args:
        state: The campaign's state.
        status: running, complete, interrupted or failed; None takes the state's own, which cannot
            know that a driver died.
    """
    studies = tuple(_study(state, study) for study in state.plan.studies)
    trials = state.trials.values()
    interruptions = Interruptions(
        resumed=state.resumed,
        retried=sum(trial.begun_again for trial in trials),
        repeated_epochs=sum(trial.repeated for trial in trials),
        repeated_seconds=sum(trial.repeated_seconds for trial in trials),
        differing_epochs=sum(trial.differing for trial in trials),
    )
    summary = Summary(state.plan.name, status or state.status, studies, interruptions)
    return replace(summary, notes=tuple(notes(summary, state)))


def trial_rows(state: CampaignState) -> list[dict[str, Any]]:
    """One JSON object a trial, in the order in which they were asked."""
    aside = {trial.spec.trial for arm in state.arms.values() for trial in arm.earlier}
    return [
        {
            "trial": trial.spec.trial,
            "study": trial.spec.study,
            "phase": trial.spec.phase,
            "arm": trial.spec.arm,
            "state": trial.state,
            "config": dict(trial.spec.config),
            "epochs": [[result.epoch, result.value] for result in trial.epochs],
            "test": None if trial.test is None else dict(trial.test),
            "test_value": None if trial.test is None else trial.test[state.plan.metric],
            "seconds": trial.seconds,
            "error": trial.error,
            "attempts": trial.attempt + 1,
            "repeated_epochs": trial.repeated,
            "comparable": trial.comparable,
            "set_aside": trial.spec.trial in aside,
        }
        for trial in state.trials.values()
    ]


def full_budget(plan: Plan, study: StudyPlan) -> int:
    """Epochs that all planned trials of a study take when none is stopped early."""
    epochs = 0
    for arm in study.arms:
        retrained = min(plan.finalist_configs, arm.trials) * plan.finalist_repeats
        epochs += (arm.trials + retrained) * plan.max_epochs
        epochs += len(plan.confirm_seeds) * plan.confirm_epochs
    return epochs


def _study(state: CampaignState, study: StudyPlan) -> StudySummary:
    trials = [trial for arm in study.arms for trial in _trials(state.arms[study.id, arm.name])]
    scores = {arm.name: _scores(state.plan, state.arms[study.id, arm.name]) for arm in study.arms}
    control = scores.get(CONTROL)
    states = Counter(trial.state for trial in trials)
    return StudySummary(
        dataset=study.dataset,
        backbone=study.backbone,
        num_classes=study.num_classes,
        arms={
            arm.name: _arm(
                arm,
                state.arms[study.id, arm.name],
                scores[arm.name],
                None if arm.name == CONTROL else _gain(scores[arm.name], control),
            )
            for arm in study.arms
        },
        trials=TrialCounts(len(trials), states["COMPLETE"], states["PRUNED"], states["FAILED"]),
        epochs=EpochCounts(
            run=sum(len(trial.epochs) for trial in trials),
            full_budget=full_budget(state.plan, study),
        ),
        seconds=sum(trial.seconds for trial in trials),
        split_hash=study.split_hash,
        published=published(study.dataset, study.backbone, study.num_classes),
    )


def _arm(plan: ArmPlan, arm: ArmState, scores: Scores | None, gain: Gain | None) -> ArmSummary:
    chosen: Config = arm.choice.config if arm.choice else {}
    strength = {} if plan.parameter == "label_smoothing" else chosen
    return ArmSummary(
        lambda_=strength.get("lambda"),
        lambda_over_n=strength.get("lambda_over_n"),
        config={key: value for key, value in chosen.items() if key not in ("seed", "split")},
        variant=plan.variant,
        val_top1=arm.choice.score if arm.choice else None,
        test_top1=scores,
        epochs_run=sum(len(trial.epochs) for trial in _trials(arm)),
        gain=gain,
    )


def _scores(plan: Plan, arm: ArmState) -> Scores | None:
    """The plan's metric of the fully trained confirm trials, in the plan's order of seeds."""
    measured = {
        trial.spec.config["seed"]: trial.test[plan.metric]
        for trial in arm.trials["confirm"]
        if trial.state == "COMPLETE" and trial.comparable and trial.test is not None
    }
    seeds = tuple(seed for seed in plan.confirm_seeds if seed in measured)
    if not seeds:
        return None
    values = tuple(measured[seed] for seed in seeds)
    return Scores(*mean_std(values), values, seeds)


def _gain(treated: Scores | None, control: Scores | None) -> Gain | None:
    if treated is None or control is None:
        return None
    return paired_gain(treated.by_seed(), control.by_seed())


def _trials(arm: ArmState) -> list[Trial]:
    return [trial for trials in (*arm.trials.values(), arm.earlier) for trial in trials]
