"""One trial in detail: its configuration, its epochs, its rungs and its times."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from pcsearch.search.journal.events import Event
from pcsearch.search.state import CampaignState, replay
from pcsearch.search.trial import Trial


@dataclass(frozen=True)
class Rung:
    """A trial's comparison with the trials of its arm before it.

    Attributes:
        epoch: 1-based.
        value: The trial's validation metric, in percent.
        continued: Whether it continued.
        compared: Values at this rung, its own included.
        larger: How many of these were strictly larger.
        places: How many of the best continue by the plain rule.
        cut: The lowest value before it that continues by that rule; None for the first trial there.
    """

    epoch: int
    value: float
    continued: bool
    compared: int
    larger: int
    places: int
    cut: float | None


@dataclass(frozen=True)
class TrialDetails:
    """A trial, and what of it only the journal's events say.

    Attributes:
        trial: The trial.
        rungs: Its rungs so far, in order; only a search trial has some.
        asked_seconds: The campaign's age when it was asked.
        ended_seconds: The age at its end; None while it runs.
        restarts: Why it was restarted, in order.
        superseded: Whether a wider search has chosen another configuration than it confirms.
    """

    trial: Trial
    rungs: tuple[Rung, ...]
    asked_seconds: float
    ended_seconds: float | None
    restarts: tuple[str, ...]
    superseded: bool

    def to_json(self) -> dict[str, Any]:
        """The keys of `pcsearch show --json` besides those of `pcsearch trials --json`."""
        spec = self.trial.spec
        return {
            "source": spec.source,
            "variant": spec.variant,
            "planned_epochs": spec.epochs,
            "metrics": [
                {"epoch": one.epoch, "value": one.value, "seconds": one.seconds, **one.metrics}
                for one in self.trial.epochs
            ],
            "rungs": [asdict(rung) for rung in self.rungs],
            "asked_seconds": self.asked_seconds,
            "ended_seconds": self.ended_seconds,
            "restarts": list(self.restarts),
        }


def trial_details(events: Iterable[Event], trial_id: str) -> TrialDetails:
    """The details of one of the campaign's trials, from its journal's events."""
    seen = _Seen(trial_id)
    state = replay(events, seen.look)
    trial = state.trials[trial_id]
    arm = state.arms[trial.spec.study, trial.spec.arm]
    return TrialDetails(
        trial,
        tuple(seen.rungs),
        seen.asked_seconds,
        None if trial_id in state.running else seen.last_seconds,
        tuple(seen.restarts),
        any(one is trial for one in arm.earlier),
    )


class _Seen:
    """Takes the events of one trial, each before it changes the state."""

    def __init__(self, trial_id: str) -> None:
        self._trial_id = trial_id
        self.rungs: list[Rung] = []
        self.restarts: list[str] = []
        self.asked_seconds = self.last_seconds = 0.0

    def look(self, state: CampaignState, event: Event) -> None:
        kind = event["event"]
        if kind == "asked" and event["spec"]["trial"] == self._trial_id:
            self.asked_seconds = self.last_seconds = float(event["t"])
        if kind == "resumed" and self._trial_id in state.running:
            self.restarts.append("the campaign was resumed")
        if event.get("trial") != self._trial_id:
            return
        self.last_seconds = float(event["t"])
        if kind == "retried":
            self.restarts.append(str(event["reason"]))
        elif kind == "epoch":
            self._rung(state, event)

    def _rung(self, state: CampaignState, event: Event) -> None:
        trial = state.trials[self._trial_id]
        ladder = state.arms[trial.spec.study, trial.spec.arm].ladder
        epoch, value = event["epoch"], event["value"]
        compares = trial.spec.phase == "search" and trial.comparable and value is not None
        if not compares or epoch not in ladder.rungs:
            return
        before = ladder.values(epoch)
        compared = len(before) + 1
        places = max(1, compared // ladder.reduction_factor)
        self.rungs.append(
            Rung(
                epoch,
                value,
                event["decision"] != "prune",
                compared,
                sum(other > value for other in before),
                places,
                before[-places] if len(before) >= places else None,
            )
        )
