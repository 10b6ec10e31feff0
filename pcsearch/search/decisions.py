"""A campaign's decisions, as functions of its state alone: stop or continue, retry, choose.

The campaign calls them before it writes an event. `audit.py` calls them again when it reads a
journal. A change of their answers contradicts older journals: raise `JOURNAL_SCHEMA` with it, and
let the audit skip the decisions of earlier formats.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from pcsearch.search import trial_config as configs
from pcsearch.search.next_trial import finalists_over, search_over
from pcsearch.search.plan import ArmPlan, StudyPlan
from pcsearch.search.sampling.ranges import searched_space
from pcsearch.search.selection import candidates, choose
from pcsearch.search.state import ArmState, CampaignState
from pcsearch.search.trial import FailureKind, Trial

_HOPELESS = 3
"""A study is given up when so many of its search trials fail alike and none trains."""

_LAST_LINES = 5
_VARYING = re.compile(r"0x[0-9a-f]+|\d+(?:\.\d+)?(?:e[+-]?\d+)?", re.IGNORECASE)


def _why_nothing(arm: ArmState) -> str:
    """Why an arm has no fully trained trial to choose."""
    repeats = arm.trials["finalists"]
    trials = repeats or arm.trials["search"]
    which = f"none of its {len(repeats)} finalist trials" if repeats else "no search trial"
    errors = [trial.error for trial in trials if trial.error]
    first = f"; the first failure: {errors[0]}" if errors else ""
    return f"{which} was trained to the end: {_ended(trials)}{first}"


def _ended(trials: Sequence[Trial]) -> str:
    """How many trials ended in each way, and what helps."""
    states = Counter(trial.state for trial in trials)
    divided = sum(trial.state == "COMPLETE" and not trial.comparable for trial in trials)
    ways = [f"{states['FAILED']} failed"] if states["FAILED"] or not states["DIVERGED"] else []
    if states["DIVERGED"]:
        ways.append(f"{states['DIVERGED']} diverged (lower search.lr)")
    if states["PRUNED"]:
        ways.append(f"{states['PRUNED']} stopped early, behind a trial that failed later")
    if divided:
        ways.append(
            f"{divided} ran out of memory and were trained in smaller batches, so they do not "
            "compete (lower train.batch_size or image.crop)"
        )
    return ", ".join(ways)


def _should_abort_study(arms: Sequence[ArmState]) -> str | None:
    """Why to give a study up: its first search trials all failed for the same reason.

    Numbers in the messages (seeds, epochs, learning rates) may differ. A trial whose batches were
    divided counts as failed: it cannot be chosen. None while there is hope.
    """
    if any(arm.trained for arm in arms):
        return None
    return _alike([trial for arm in arms for trial in arm.judged])


def _alike(trials: Sequence[Trial]) -> str | None:
    divided = [trial for trial in trials if not trial.comparable]
    if len(divided) >= _HOPELESS and not any(t.comparable and t.epochs for t in trials):
        return (
            f"its first {len(divided)} trials ran out of memory with whole batches; lower "
            "train.batch_size (raise train.accumulation_steps in turn) or image.crop, or run fewer "
            "trials on a GPU at once (resources.gpus_per_trial)"
        )
    ended = [trial for trial in trials if trial.state != "RUNNING"]
    errors = [trial.error or "" for trial in ended if trial.state == "FAILED"]
    if len(errors) < _HOPELESS or len(errors) < len(ended):
        return None
    if any(trial.epochs for trial in trials if trial.state == "RUNNING"):
        return None
    if len({_VARYING.sub("#", error) for error in errors}) > 1:
        return None
    lines = [line for line in errors[0].splitlines() if line.strip()]
    return f"its first {len(errors)} trials failed for the same reason: " + "\n".join(
        lines[-_LAST_LINES:]
    )


_Decision = Literal["continue", "prune", "complete"]
RETRIES = 2
"""How often a trial whose worker died or hung restarts from its last checkpoint."""

LOST_NODES = 10
"""How many nodes a trial may lose in a row without a new epoch in between."""


def decide(state: CampaignState, trial: Trial, epoch: int, value: float | None) -> _Decision:
    """Whether a trial continues after `epoch` epochs; `value` is its metric, in percent."""
    if epoch >= trial.spec.epochs:
        return "complete"
    if trial.spec.phase != "search" or value is None:
        return "continue"
    arm = state.arms[trial.spec.study, trial.spec.arm]
    if arm.ladder.would_continue(epoch, value) or _is_needed(state, trial, arm):
        return "continue"
    return "prune"


def _is_needed(state: CampaignState, trial: Trial, arm: ArmState) -> bool:
    """Whether stopping this trial would leave too few that are trained to the end."""
    planned = state.plan.study(trial.spec.study).arm(trial.spec.arm).trials
    asked = len(arm.trials["search"])
    open_ = 0 if state.search_closed is not None else max(0, planned - asked)
    others = arm.running("search") - 1
    return arm.complete + open_ + others < min(state.plan.full_trainings, planned)


def may_begin_again(trial: Trial, kind: FailureKind) -> bool:
    """Whether a running trial that lost its worker restarts.

    A lost node is not the trial's fault and does not use up its retries. A trial that ran out of
    memory restarts with halved batches, once.
    """
    if kind == "memory":
        return trial.comparable
    return trial.lost_nodes < LOST_NODES if kind == "node" else trial.retries < RETRIES


def choice_of(state: CampaignState, study: StudyPlan, arm: ArmPlan) -> dict[str, Any] | None:
    """The event of an arm's choice, or of giving it up; None while trials may change it."""
    place = {"study": study.id, "arm": arm.name}
    done = state.arms[study.id, arm.name]
    if arm.borrows is not None:
        lender = state.arms[study.id, arm.borrows]
        if lender.given_up is not None:
            return {"event": "given_up", **place, "reason": lender.given_up}
        if lender.choice is None:
            return None
        config = configs.without_regulariser(lender.choice.config)
        borrowed = {"config": config, "source": lender.choice.source, "edge": None, "edges": {}}
        return {"event": "chosen", **place, **borrowed, "score": None, "values": ()}
    place_of = (study, arm, done)
    if not (search_over(state, place_of) and finalists_over(state, place_of)):
        return None
    retrains = state.plan.finalist_configs and state.plan.finalist_repeats
    retrained = candidates(state, study, arm) if retrains else None
    choice = choose(arm, done, retrained, searched_space(state, study, arm))
    if choice is None:
        return {"event": "given_up", **place, "reason": _why_nothing(done)}
    return {"event": "chosen", **place, **vars(choice)}


def hopeless_because(state: CampaignState, study: StudyPlan) -> str | None:
    """Why a study is given up although its search may continue; None while there is hope."""
    return _should_abort_study([state.arms[study.id, arm.name] for arm in study.arms])
