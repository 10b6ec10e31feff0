"""Builds a campaign's summary and its list of trials from its state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pcsearch.arms import CONTROL
from pcsearch.reporting.analysis import ReadFile, analyse
from pcsearch.reporting.notes import notes
from pcsearch.reporting.published import published
from pcsearch.reporting.summary_types import (
    ArmSummary,
    EpochCounts,
    Interruptions,
    Neighbours,
    Scores,
    StudySummary,
    Summary,
    TrialCounts,
)
from pcsearch.reporting.what_now import what_now
from pcsearch.search.plan import ArmPlan, Plan, StudyPlan
from pcsearch.search.state import ArmState, CampaignState
from pcsearch.search.trial import KNN, NEIGHBOURS, Config, Trial
from pcsearch.search.verdicts.gain import Gain, mean_std
from pcsearch.search.verdicts.verdict import Verdict, confirmed, gain_of, verdict_on

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


def summarise(
    state: CampaignState, status: str | None = None, read: ReadFile | None = None
) -> Summary:
    """The summary of a campaign, at its end or while it runs.

    Args:
        state: The campaign's state.
        status: running, complete, interrupted or failed. None takes the state's own, which does
            not reveal a dead driver.
        read: Reads files of the run, to analyse the predictions; None leaves the analysis out.
    """
    studies = tuple(_study(state, study, read) for study in state.plan.studies)
    trials = state.trials.values()
    interruptions = Interruptions(
        resumed=state.resumed,
        retried=sum(trial.begun_again for trial in trials),
        repeated_epochs=sum(trial.repeated for trial in trials),
        repeated_seconds=sum(trial.repeated_seconds for trial in trials),
        differing_epochs=sum(trial.differing for trial in trials),
    )
    summary = Summary(
        state.plan.name,
        status or state.status,
        studies,
        interruptions,
        mismatches=state.mismatches,
        unsealed_lines=state.unsealed,
    )
    follows = what_now(studies) if summary.status == "complete" else ()
    return replace(summary, notes=tuple(notes(summary, state)), what_now=tuple(follows))


def trial_rows(state: CampaignState) -> list[dict[str, Any]]:
    """One JSON object per trial, in the order of their start."""
    aside = {trial.spec.trial for arm in state.arms.values() for trial in arm.earlier}
    found: dict[str | None, list[dict[str, Any]]] = {}
    for one in state.mismatches:
        found.setdefault(one.trial, []).append({"line": one.line, "what": one.what})
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
            "mismatches": found.get(trial.spec.trial, []),
        }
        for trial in state.trials.values()
    ]


def full_budget(plan: Plan, study: StudyPlan) -> int:
    """Epochs of all planned trials of a study if none is stopped early."""
    epochs = 0
    for arm in study.arms:
        retrained = plan.most_finalists(study) if arm.trials else 0
        epochs += (arm.trials + retrained) * plan.epochs(arm, "search")
        epochs += len(plan.confirm_seeds) * plan.epochs(arm, "confirm")
    return epochs


def _study(state: CampaignState, study: StudyPlan, read: ReadFile | None) -> StudySummary:
    trials = [trial for arm in study.arms for trial in _trials(state.arms[study.id, arm.name])]
    states = Counter(trial.state for trial in trials)
    return StudySummary(
        dataset=study.dataset,
        backbone=study.backbone,
        num_classes=study.num_classes,
        arms={arm.name: _arm(state, study, arm) for arm in study.arms},
        trials=TrialCounts(
            total=len(trials),
            complete=states["COMPLETE"],
            pruned=states["PRUNED"],
            failed=states["FAILED"],
            diverged=states["DIVERGED"],
        ),
        epochs=EpochCounts(
            run=sum(len(trial.epochs) for trial in trials),
            full_budget=full_budget(state.plan, study),
        ),
        seconds=sum(trial.seconds for trial in trials),
        split_hash=study.split_hash,
        looks=tuple(state.looks[study.id]),
        published=published(study.dataset, study.backbone, study.num_classes),
        neighbours=_neighbours(trials),
        analysis=None if read is None else analyse(state, study, read),
    )


def _neighbours(trials: Sequence[Trial]) -> Neighbours | None:
    """What a confirm trial measured; all measure the same."""
    for trial in trials:
        k, value = ((trial.test or {}).get(name) for name in (NEIGHBOURS, KNN))
        if k is not None and value is not None:
            return Neighbours(round(k), value)
    return None


def _arm(state: CampaignState, study: StudyPlan, plan: ArmPlan) -> ArmSummary:
    arm = state.arms[study.id, plan.name]
    chosen: Config = arm.choice.config if arm.choice else {}
    weighted = plan.parameter is None or {"lambda", "lambda_over_n"} & set(plan.own)
    strength = chosen if weighted else {}
    gain = gain_of(state, study, plan.name)
    return ArmSummary(
        lambda_=strength.get("lambda"),
        lambda_over_n=strength.get("lambda_over_n"),
        config={key: value for key, value in chosen.items() if key not in ("seed", "split")},
        variant=plan.variant,
        val_top1=arm.choice.score if arm.choice else None,
        test_top1=_scores(state, study, plan.name),
        epochs_run=sum(len(trial.epochs) for trial in _trials(arm)),
        full_trainings=arm.complete,
        edges=arm.choice.edges if arm.choice else {},
        gain=gain,
        verdict=_verdict(state, study, plan.name, gain),
        own=plan.own,
    )


def _verdict(state: CampaignState, study: StudyPlan, arm: str, gain: Gain | None) -> Verdict | None:
    """The verdict; None before there is anything to judge."""
    ended = state.status in ("complete", "failed") and state.plan.confirm_seeds
    if arm == CONTROL or (gain is None and not ended) or (study.id, CONTROL) not in state.arms:
        return None
    return verdict_on(state, study, arm, gain)


def _scores(state: CampaignState, study: StudyPlan, arm: str) -> Scores | None:
    """The plan's metric in the fully trained confirm trials, in the plan's order of seeds."""
    measured = confirmed(state, study, arm)
    if not measured:
        return None
    values = tuple(one.value for one in measured.values())
    return Scores(*mean_std(values), values, tuple(measured))


def _trials(arm: ArmState) -> list[Trial]:
    return [trial for trials in (*arm.trials.values(), arm.earlier) for trial in trials]
