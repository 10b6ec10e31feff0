"""The campaign decides which trial is next, which one stops, and what is confirmed.

It does not know how trials run. It writes each decision and epoch to the journal before that takes
effect. `CampaignState` folds the same events, so a replay of the journal gives the same campaign.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping

from pcsearch.search import budget
from pcsearch.search import budget as money
from pcsearch.search.decisions import choice_of, decide, hopeless_because, may_begin_again
from pcsearch.search.journal.journal_file import Event, Journal
from pcsearch.search.next_trial import look_due, make_trial, next_step, nothing_left
from pcsearch.search.plan import Plan, StudyPlan
from pcsearch.search.state import CampaignState, Status
from pcsearch.search.trial import FailureKind, Trial, TrialSpec
from pcsearch.search.verdicts.verdict import look_at

KEPT_SECONDS = 5.0
"""How long a cluster's worker waits for its next trial: longer than a decision, but shorter than
any idle timeout. Another worker starts in seconds."""


class Warmth:
    """Tracks which datasets are decoded on the node of the free worker that gets the next trial.

    Ray Tune gives its next trial to the worker that has been free longest. It ends workers that
    have waited too long.

    Args:
        clock: Returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._decoded: dict[str, set[str]] = {}
        self._free: deque[tuple[str, float]] = deque()

    def trained(self, node: str, dataset: str) -> None:
        """A trial of the dataset has reported from the node."""
        self._decoded.setdefault(node, set()).add(dataset)

    def freed(self, node: str) -> None:
        """A trial has ended on the node, and its worker waits for another one."""
        self._free.append((node, self._clock()))

    def next(self) -> frozenset[str]:
        """The datasets on the node whose worker has waited longest; empty if none waits."""
        longest_ago = self._clock() - KEPT_SECONDS
        while self._free and self._free[0][1] < longest_ago:
            self._free.popleft()
        return frozenset(self._decoded.get(self._free[0][0], ())) if self._free else frozenset()

    def taken(self) -> None:
        """The worker that has waited longest got a trial."""
        if self._free:
            self._free.popleft()


def written(decoded: Collection[str]) -> dict[str, list[str]]:
    """The decoded datasets as the journal holds them, so that a replay can ask the same question.

    Empty if nothing was decoded, so such journals keep their form.
    """
    return {"decoded": sorted(decoded)} if decoded else {}


class Campaign:
    """Asks for trials, takes their epochs, chooses and confirms.

    Args:
        plan: What to search.
        journal: Where events are written; each is on disk before it takes effect.
        clock: Returns the seconds since the campaign began.
        max_concurrent: Trials at once.
        state: The state to resume from; None starts a new campaign.
        listener: Called with each event after it took effect.
    """

    def __init__(
        self,
        plan: Plan,
        journal: Journal,
        clock: Callable[[], float],
        max_concurrent: int = 1,
        state: CampaignState | None = None,
        listener: Callable[[Event, CampaignState], None] | None = None,
    ) -> None:
        self.plan = plan
        self.max_concurrent = max_concurrent
        self._journal = journal
        self._clock = clock
        self._listener = listener
        if state is None:
            journal.append({"event": "campaign", "t": 0.0, "plan": plan.model_dump(mode="json")})
            state = CampaignState(plan)
        self.state = state
        self._handed_out: set[str] = set()

    @property
    def done(self) -> bool:
        """Whether every study is decided and confirmed, so that no trial will ever follow."""
        return nothing_left(self.state)

    def next_trial(self, decoded: Collection[str] = frozenset()) -> TrialSpec | None:
        """Ask for a trial; None while `max_concurrent` run, the next step waits, or all is done.

        Trials to restart come first (after an interruption or a lost worker). `decoded` are the
        datasets whose images are on the node that gets the trial, if known. Among equally urgent
        trials, one of these goes first. With one trial at a time `decoded` has no effect: the next
        trial must not depend on what this process has seen.
        """
        if len(self._handed_out) >= self.max_concurrent:
            return None
        decoded = decoded if self.max_concurrent > 1 else ()
        if len(self._handed_out) < len(self.state.running):
            waiting = [
                t.spec for name, t in self.state.running.items() if name not in self._handed_out
            ]
            here = (spec for spec in waiting if spec.study.partition("/")[0] in decoded)
            again = next(here, waiting[0])
            self._handed_out.add(again.trial)
            return again
        spec = self._suggest(decoded)
        if spec is not None:
            self._record({"event": "asked", "spec": vars(spec), **written(decoded)})
            self._handed_out.add(spec.trial)
        elif not self.state.running and not self.done:
            raise RuntimeError("the campaign waits, but nothing is running")
        return spec

    def report(
        self,
        trial_id: str,
        epoch: int,
        value: float | None,
        seconds: float,
        metrics: Mapping[str, float],
        test: Mapping[str, float] | None = None,
        *,
        hits: str | None = None,
        weights_error: str | None = None,
        predictions: Mapping[str, str] | None = None,
        attempt: int | None = None,
        replayed: bool = False,
    ) -> bool:
        """Take an epoch's result and say whether the trial continues.

        Args:
            trial_id: The trial.
            epoch: 1-based. A known epoch changes nothing (a replacement worker may repeat it).
            value: The metric that decides, in percent; None in confirm.
            seconds: Wall time of the epoch.
            metrics: All other measures.
            test: The test images' metrics, with the last epoch of a confirm trial only.
            hits: Which test images were classified correctly, with `test`.
            weights_error: Why the weights could not be written, with `test`.
            predictions: The `sha256` of their file, or the `error` of writing it.
            attempt: The attempt that reports. Workers of earlier attempts stop.
            replayed: Whether the epoch comes from a checkpoint, not from a training just now.
        """
        trial = self.state.trials[trial_id]
        if trial.state != "RUNNING" or (attempt is not None and attempt != trial.attempt):
            return False
        if epoch <= trial.last_epoch:
            if not replayed:
                self._repeated(trial, epoch, value, seconds, metrics)
            return True
        if value is not None and not math.isfinite(value):
            self.diverge(trial_id, f"the validation metric is {value} after epoch {epoch}")
            return False
        if any(not math.isfinite(metric) for metric in (test or {}).values()):
            self.diverge(trial_id, f"the test metrics are not finite after epoch {epoch}")
            return False
        decision = decide(self.state, trial, epoch, value)
        event: Event = {"event": "epoch", "trial": trial_id, "epoch": epoch, "value": value}
        event |= {"decision": decision, "seconds": seconds, "metrics": dict(metrics)}
        for key, measured in (("test", test), ("predictions", predictions)):
            if measured is not None:
                event[key] = dict(measured)
        for key, text in (("hits", hits), ("weights_error", weights_error)):
            if text is not None:
                event[key] = text
        self._record(event)
        if decision != "continue":
            self._settle(trial.spec.study)
        return decision == "continue"

    def fail(self, trial_id: str, error: str) -> None:
        """Record that a trial failed for good; the campaign continues without it."""
        self._end_trial(trial_id, {"event": "failed", "trial": trial_id, "error": error})

    def diverge(self, trial_id: str, error: str) -> None:
        """Record that a trial's loss or outputs are no longer finite.

        Unlike a failure, this is due to its hyperparameters, so the sampler learns of it.
        """
        self._end_trial(trial_id, {"event": "diverged", "trial": trial_id, "error": error})

    def _end_trial(self, trial_id: str, event: Event) -> None:
        if self.state.trials[trial_id].state == "RUNNING":
            study = self.state.trials[trial_id].spec.study
            self._record(event)
            self._settle(study)

    def lost(self, trial_id: str, reason: str, kind: FailureKind) -> None:
        """Record that a running trial lost its worker, and restart it unless too often.

        A lost node is not the trial's fault and does not use up its retries. A trial that ran out
        of memory restarts with halved batches, once.
        """
        trial = self.state.trials[trial_id]
        if trial.state != "RUNNING":
            return
        if may_begin_again(trial, kind):
            self._record({"event": "retried", "trial": trial_id, "reason": reason, "kind": kind})
            self._handed_out.discard(trial_id)
            self._settle(trial.spec.study)
        else:
            self.fail(trial_id, f"{reason} (started {trial.attempt + 1} times)")

    def machines(self, nodes: int, slots: int) -> None:
        """Record how many nodes there are, and how many trials they have room for.

        Only a budget in money needs this. Without one, nothing is written.
        """
        if self.plan.budget_cost is None:
            return
        per_node = slots / nodes if nodes else self.state.slots_per_node
        if (nodes, per_node) != (self.state.nodes, self.state.slots_per_node):
            self._record({"event": "machines", "nodes": nodes, "slots": slots})

    def resume(self, **who: object) -> None:
        """Restart every running trial from its checkpoints; the journal holds `who`."""
        self._record({"event": "resumed", "attempt": self.state.resumed + 1, **who})

    def extend(self, plan: Plan, recipe: str) -> None:
        """Continue with a wider plan."""
        event = {"event": "extended", "plan": plan.model_dump(mode="json"), "recipe": recipe}
        self._record(event)
        self.plan = plan
        self.advance()

    def advance(self) -> None:
        """Make every choice that the trials so far decide.

        A running campaign does this by itself. A resumed one needs this call after `resume`: its
        journal may end just before a choice.
        """
        for study in self.plan.studies:
            self._settle(study.id)

    def _settle(self, study_id: str) -> None:
        """The same for one study: a trial's end can decide only its own study."""
        study = self.plan.study(study_id)
        self._give_up_hopeless(study)
        for arm in sorted(study.arms, key=lambda arm: arm.borrows is not None):  # lenders first
            state = self.state.arms[study_id, arm.name]
            if state.choice is not None or state.given_up is not None:
                continue
            choice = choice_of(self.state, study, arm)
            if choice is not None:
                self._record(choice)
        if look_due(self.state, study):
            self._record(look_at(self.state, study))

    def end(self, status: Status) -> None:
        """Record the campaign's end: complete, failed or interrupted."""
        self._record({"event": "ended", "status": status})

    def _record(self, event: Event) -> None:
        event["t"] = round(self._clock(), 3)
        self._journal.append(event)
        self.state.apply(event)
        if "trial" in event and event["trial"] not in self.state.running:
            self._handed_out.discard(event["trial"])
        if self._listener is not None:
            self._listener(event, self.state)

    def _repeated(
        self,
        trial: Trial,
        epoch: int,
        value: float | None,
        seconds: float,
        metrics: Mapping[str, float],
    ) -> None:
        known = next(result for result in trial.epochs if result.epoch == epoch)
        same = (value, dict(metrics)) == (known.value, known.metrics)
        event: Event = {"event": "repeated", "trial": trial.spec.trial, "epoch": epoch}
        self._record({**event, "seconds": seconds, "same": same})

    def _suggest(self, decoded: Collection[str]) -> TrialSpec | None:
        step = next_step(self.state, decoded, timed=self.max_concurrent > 1)
        if step is None:
            return None
        # Every arm gets its first trial, even beyond the budget.
        if step.phase == "search" and step.arm_ref[2].trials["search"]:
            study, arm, _ = step.arm_ref
            asked = (self.state, study, arm, self.max_concurrent, self._clock())
            paid = money.admit_trial(*asked)
            over = "time" if budget.time_is_up(*asked) else "cost" if paid == "close" else None
            if over is not None:
                reason = f"the {over} budget left room for finalists and confirm only"
                self._record({"event": "search_closed", "reason": reason, **written(decoded)})
                self.advance()
                return self._suggest(decoded)
            if paid == "wait":
                return None
        return make_trial(self.state, step)

    def _give_up_hopeless(self, study: StudyPlan) -> None:
        """End the search of a study whose trials all fail for the same reason."""
        arms = [self.state.arms[study.id, arm.name] for arm in study.arms]
        reason = hopeless_because(self.state, study)
        for arm, state in zip(study.arms, arms, strict=True):
            if reason is not None and state.choice is None and state.given_up is None:
                place = {"study": study.id, "arm": arm.name}
                self._record({"event": "given_up", **place, "reason": reason})
        if any(state.given_up is None for state in arms):
            return
        for name in [n for n, t in self.state.running.items() if t.spec.study == study.id]:
            self._record({"event": "failed", "trial": name, "error": "its study was given up"})
