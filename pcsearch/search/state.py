"""The campaign's state, folded from its journal: state = replay(events).

`CampaignState.apply` is the only code that changes it, so a live campaign, a resumed one and a
reader of the run folder all see the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from pcsearch.errors import UserError
from pcsearch.search.asha import Ladder
from pcsearch.search.journal import Event
from pcsearch.search.plan import JOURNAL_SCHEMA, Plan
from pcsearch.search.trial import Config, EpochResult, Phase, Trial, TrialSpec, TrialState

Status = Literal["running", "complete", "interrupted", "failed"]
_STATE_AFTER: dict[str, TrialState] = {
    "continue": "RUNNING",
    "prune": "PRUNED",
    "complete": "COMPLETE",
}


@dataclass(frozen=True)
class Choice:
    """The configuration an arm goes into confirm with."""

    config: Config
    source: str
    """The search trial it comes from."""
    score: float | None
    """Mean over splits of the last epoch's metric, in percent; None for a borrowed choice."""
    values: tuple[float, ...]
    edge: Literal["low", "high"] | None = None
    """The end of its range that the regulariser's strength lies at, if it does."""


@dataclass
class ArmState:
    """What an arm of a study has done so far."""

    ladder: Ladder
    trials: dict[Phase, list[Trial]] = field(
        default_factory=lambda: {"search": [], "finalists": [], "confirm": []}
    )
    choice: Choice | None = None
    given_up: str | None = None
    """Why nothing could be chosen, if so."""

    def running(self, phase: Phase) -> bool:
        return any(trial.state == "RUNNING" for trial in self.trials[phase])


class CampaignState:
    """Everything known of a campaign."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.status: Status = "running"
        self.seconds = 0.0
        """The campaign's age at its latest event."""
        self.search_closed: str | None = None
        """Why the search phase asks no more trials, if the budget closed it."""
        self.trials: dict[str, Trial] = {}
        self.arms: dict[tuple[str, str], ArmState] = {
            (study.id, arm.name): ArmState(
                Ladder(plan.max_epochs, plan.grace_epochs, plan.reduction_factor)
            )
            for study in plan.studies
            for arm in study.arms
        }
        self.live: dict[str, Trial] = {}

    def apply(self, event: Event) -> None:
        """Fold one event in."""
        self.seconds = max(self.seconds, float(event.get("t", 0.0)))
        kind = event["event"]
        if kind == "asked":
            self._asked(event)
        elif kind == "epoch":
            self._epoch(event)
        elif kind == "failed":
            trial = self.trials[event["trial"]]
            trial.state, trial.error = "FAILED", event["error"]
            self.live.pop(trial.spec.trial, None)
        elif kind == "chosen":
            self._chosen(event)
        elif kind == "given_up":
            self.arms[event["study"], event["arm"]].given_up = event["reason"]
        elif kind == "search_closed":
            self.search_closed = event["reason"]
        elif kind == "ended":
            self.status = event["status"]
        else:
            raise UserError(f'the journal has an event of unknown kind "{kind}"')

    def failed_studies(self) -> tuple[str, ...]:
        """Studies with an arm that nothing could be chosen for, or that no seed confirmed."""
        return tuple(
            study.id
            for study in self.plan.studies
            if any(self._arm_failed(self.arms[study.id, arm.name]) for arm in study.arms)
        )

    def _arm_failed(self, arm: ArmState) -> bool:
        confirm = arm.trials["confirm"]
        asked = bool(confirm) and len(confirm) == len(self.plan.confirm_seeds)
        return arm.given_up is not None or (
            asked and all(trial.state == "FAILED" for trial in confirm)
        )

    def _asked(self, event: Event) -> None:
        trial = Trial(TrialSpec(**event["spec"]))
        self.trials[trial.spec.trial] = trial
        self.live[trial.spec.trial] = trial
        self.arms[trial.spec.study, trial.spec.arm].trials[trial.spec.phase].append(trial)

    def _epoch(self, event: Event) -> None:
        trial = self.trials[event["trial"]]
        result = EpochResult(event["epoch"], event["value"], event["seconds"], event["metrics"])
        trial.epochs.append(result)
        if trial.spec.phase == "search" and result.value is not None:
            ladder = self.arms[trial.spec.study, trial.spec.arm].ladder
            ladder.record(trial.spec.trial, result.epoch, result.value)
        trial.test = event.get("test") or trial.test
        trial.state = _STATE_AFTER[event["decision"]]
        if trial.state != "RUNNING":
            self.live.pop(trial.spec.trial, None)

    def _chosen(self, event: Event) -> None:
        self.arms[event["study"], event["arm"]].choice = Choice(
            config=event["config"],
            source=event["source"],
            score=event["score"],
            values=tuple(event["values"]),
            edge=event["edge"],
        )


def replay(events: Iterable[Event]) -> CampaignState:
    """Fold a whole journal.

    Raises:
        UserError: the journal is empty or was written by another version of its format.
    """
    stream = iter(events)
    first = next(stream, None)
    if first is None or first["event"] != "campaign":
        raise UserError("the journal does not begin with its campaign; nothing was started")
    written = first["plan"].get("schema_version")
    if written != JOURNAL_SCHEMA:
        raise UserError(
            f"the journal has format {written}, but this version reads format {JOURNAL_SCHEMA}; "
            "read it with the version that environment.json names"
        )
    state = CampaignState(Plan.model_validate(first["plan"]))
    for event in stream:
        state.apply(event)
    return state
