"""Plain lines: one per event, for logs and terminals that cannot redraw."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from pcsearch.cli.views.progress import arm_label, snapshot, study_progress
from pcsearch.cli.views.text import count, short_duration, short_percent, short_regulariser
from pcsearch.printable import printable
from pcsearch.reporting.formatting import first_line
from pcsearch.search.journal.journal_file import Event
from pcsearch.search.observer import STOPPING
from pcsearch.search.plan import Plan
from pcsearch.search.state import CampaignState
from pcsearch.search.trial import Trial

_PROGRESS_SECONDS = 30.0


class PlainLines:
    """An `Observer` that writes lines to a stream, each after the campaign's age."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._said = 0.0
        self._elapsed = 0.0
        self._settled: set[str] = set()
        self._preparing = ""

    def preparing(self, what: str, done: int, total: int) -> None:
        if what != self._preparing and done < total:
            self._preparing = what
            self._write(0.0, f"preparing {what}: {total:,}")
        elif what == self._preparing and done >= total:
            self._preparing = ""
            self._write(0.0, f"prepared {what}: {total:,}")

    def noted(self, line: str) -> None:
        self._write(self._elapsed, line)

    def history(self, events: Iterable[Event]) -> None:
        """Does nothing: the state that follows is complete."""

    def started(self, run_folder: Path | str, plan: Plan, width: int) -> None:
        if not width:
            return
        self._said = self._elapsed
        studies = count(len(plan.studies), "study")
        at_once = f"{count(width, 'trial')} at once"
        self._write(self._elapsed, f"{plan.name}: {studies}, {at_once}, in {run_folder}")

    def event(self, event: Event, state: CampaignState) -> None:
        self._elapsed = state.seconds
        for line in _lines(event, state):
            self._write(state.seconds, line)
        studies = state.plan.studies
        settled = {study.id for study in studies if study_progress(state, study).settled}
        if event["event"] not in ("resumed", "extended"):  # these end no study
            for study in (study.id for study in studies if study.id in settled - self._settled):
                self._write(state.seconds, f"{study}: done")
        self._settled = settled

    def tick(
        self, state: CampaignState, elapsed_seconds: float, width: int, waiting: int = 0
    ) -> None:
        self._elapsed = elapsed_seconds
        if elapsed_seconds - self._said < _PROGRESS_SECONDS:
            return
        self._said = elapsed_seconds
        now = snapshot(state, elapsed_seconds, width, waiting)
        left = now.remaining_seconds
        waits = f", {now.waiting} waiting for a node" if now.waiting else ""
        self._write(
            elapsed_seconds,
            f"progress: {now.ended} of {count(now.planned, 'trial')} ended, "
            f"{now.trained} running{waits}, {count(now.epochs, 'epoch')}, "
            + ("time left unknown" if left is None else f"~{short_duration(left)} left"),
        )

    def stopping(self, line: str = STOPPING) -> None:
        self._write(self._elapsed, line)

    def finished(self, status: str) -> None:
        self._write(self._elapsed, f"campaign {status}")
        self._elapsed = 0.0  # another recipe may follow
        self._settled = set()

    def close(self) -> None:
        """Nothing to restore."""

    def _write(self, seconds: float, line: str) -> None:
        self._stream.write(f"{short_duration(seconds):>8}  {printable(line)}\n")
        self._stream.flush()


def _lines(event: Event, state: CampaignState) -> list[str]:
    kind = event["event"]
    if kind == "epoch" and event["decision"] != "continue":
        return [_ended(state.trials[event["trial"]], state.plan)]
    if kind in ("failed", "diverged"):
        what = f"{arm_label(state.trials[event['trial']])}: {kind}"
        return [f"{what}: {first_line(event['error'])}"]
    if kind == "retried":
        trial = state.trials[event["trial"]]
        return [f"{arm_label(trial)}: restarted: {first_line(event['reason'])}"]
    if kind == "resumed":
        begun = f", {count(len(state.running), 'trial')} restarted" if state.running else ""
        return [f"resumed{begun}"]
    if kind == "extended":
        return ["the recipe was changed"]
    if kind == "chosen":
        return [_chosen(event)]
    if kind == "looked":
        return [f"{event['study']} {arm}: {_seen(gain)}" for arm, gain in event["gains"].items()]
    if kind == "given_up":
        return [f"{event['study']} {event['arm']}: given up: {first_line(event['reason'])}"]
    if kind == "search_closed":
        return [f"search closed: {event['reason']}"]
    return []


def _ended(trial: Trial, plan: Plan) -> str:
    how = "stopped early" if trial.state == "PRUNED" else "complete"
    parts = [f"{how} after {count(trial.last_epoch, 'epoch')}"]
    if trial.last_value is not None:
        parts.append(f"validation {short_percent(trial.last_value)} %")
    if trial.test is not None:
        parts.append(f"test {short_percent(trial.test.get(plan.metric))} %")
    if trial.weights_error is not None:
        parts.append(f"weights not written ({first_line(trial.weights_error)})")
    if trial.predictions_error is not None:
        parts.append(f"predictions not written ({first_line(trial.predictions_error)})")
    regulariser = short_regulariser(trial.spec.config)
    return f"{arm_label(trial)}: {', '.join([*parts, *([regulariser] if regulariser else [])])}"


def _seen(gain: Event) -> str:
    if gain["low"] is None or gain["high"] is None:
        return f"gain {gain['mean']:+.2f}: {gain['word']}"
    return f"gain {gain['mean']:+.2f} [{gain['low']:+.2f}, {gain['high']:+.2f}]: {gain['word']}"


def _chosen(event: Event) -> str:
    score = event["score"]
    value = "" if score is None else f", validation {short_percent(score)} %"
    regulariser = short_regulariser(event["config"]) or "no regulariser"
    edge = f" (at the {event['edge']} end of its range)" if event["edge"] else ""
    return f"{event['study']} {event['arm']}: chose {regulariser}{edge}{value}"
