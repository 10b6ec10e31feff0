"""The campaign: decides which trial is next, who stops, what is confirmed.

It knows nothing of how trials run. Every decision and every epoch is written to the journal before
it takes effect; `CampaignState` folds the same events, so a replay of the journal gives the same
campaign again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from pcsearch.search import budget, configs
from pcsearch.search.journal import Event, Journal
from pcsearch.search.optuna_study import propose
from pcsearch.search.plan import ArmPlan, Plan, StudyPlan
from pcsearch.search.selection import choose, finalists
from pcsearch.search.state import ArmState, CampaignState, Status
from pcsearch.search.trial import Config, Phase, Trial, TrialSpec

Decision = Literal["continue", "prune", "complete"]
Place = tuple[StudyPlan, ArmPlan, ArmState]


class Campaign:
    """Asks trials, takes their epochs, chooses and confirms.

    Args:
        plan: What to search.
        journal: Where events are written; each is on disk before it takes effect.
        clock: Seconds since the campaign began.
        width: Trials at once.
        state: The state to go on from; None starts a new campaign.
        listener: Told of every event after it took effect.
    """

    def __init__(
        self,
        plan: Plan,
        journal: Journal,
        clock: Callable[[], float],
        width: int = 1,
        state: CampaignState | None = None,
        listener: Callable[[Event, CampaignState], None] | None = None,
    ) -> None:
        self.plan = plan
        self.width = width
        self._journal = journal
        self._clock = clock
        self._listener = listener
        if state is None:
            journal.append({"event": "campaign", "t": 0.0, "plan": plan.model_dump(mode="json")})
            state = CampaignState(plan)
        self.state = state
        self._advance()  # the journal may end just before a choice that its events decide

    @property
    def done(self) -> bool:
        """Whether every study is decided and confirmed, so that no trial will ever follow."""
        return not self.state.live and all(self._settled(place) for place in self._places())

    def next_trial(self) -> TrialSpec | None:
        """Ask for a trial; None while `width` run or the next step waits for them, or when done.

        Search trials come first, then finalists, then confirm trials: long trials whose number is
        known fill the gaps that early stopping leaves.
        """
        if len(self.state.live) >= self.width:
            return None
        spec = self._search_trial() or self._finalist_trial() or self._confirm_trial()
        if spec is not None:
            self._record({"event": "asked", "spec": vars(spec)})
        elif not self.state.live and not self.done:
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
    ) -> bool:
        """Take an epoch's result and say whether the trial goes on.

        Args:
            trial_id: The trial.
            epoch: 1-based; one that was reported before is ignored (a worker that was replaced).
            value: The metric that decides, in percent; None in confirm.
            seconds: Wall time of the epoch.
            metrics: Whatever else was measured.
            test: The test images' metrics, with the last epoch of a confirm trial only.
        """
        trial = self.state.trials[trial_id]
        if trial.state != "RUNNING":
            return False
        if epoch <= trial.last_epoch:
            return True
        if value is not None and not math.isfinite(value):
            self.fail(trial_id, f"the validation metric is {value} after epoch {epoch}")
            return False
        decision = self._decide(trial, epoch, value)
        event: Event = {"event": "epoch", "trial": trial_id, "epoch": epoch, "value": value}
        event |= {"decision": decision, "seconds": seconds, "metrics": dict(metrics)}
        if test is not None:
            event["test"] = dict(test)
        self._record(event)
        self._advance()
        return decision == "continue"

    def fail(self, trial_id: str, error: str) -> None:
        """Take note that a trial failed for good; the campaign goes on without it."""
        if self.state.trials[trial_id].state == "RUNNING":
            self._record({"event": "failed", "trial": trial_id, "error": error})
            self._advance()

    def end(self, status: Status) -> None:
        """Close the journal's story: complete, failed or interrupted."""
        self._record({"event": "ended", "status": status})

    def _record(self, event: Event) -> None:
        event["t"] = round(self._clock(), 3)
        self._journal.append(event)
        self.state.apply(event)
        if self._listener is not None:
            self._listener(event, self.state)

    def _decide(self, trial: Trial, epoch: int, value: float | None) -> Decision:
        if epoch >= trial.spec.epochs:
            return "complete"
        if trial.spec.phase != "search" or value is None:
            return "continue"
        arm = self.state.arms[trial.spec.study, trial.spec.arm]
        return "continue" if arm.ladder.would_continue(epoch, value) else "prune"

    def _places(self) -> Iterator[Place]:
        for study in self.plan.studies:
            for arm in study.arms:
                yield study, arm, self.state.arms[study.id, arm.name]

    def _settled(self, place: Place) -> bool:
        _, _, arm = place
        confirmed = len(arm.trials["confirm"]) == len(self.plan.confirm_seeds)
        return arm.given_up is not None or (arm.choice is not None and confirmed)

    def _search_open(self, place: Place) -> bool:
        _, plan, arm = place
        asked = len(arm.trials["search"])
        return asked < plan.trials and (self.state.search_closed is None or asked == 0)

    def _search_trial(self) -> TrialSpec | None:
        waiting = [place for place in self._places() if self._search_open(place)]
        if not waiting:
            return None
        place = min(waiting, key=lambda place: len(place[2].trials["search"]) / place[1].trials)
        study, arm, state = place
        if state.trials["search"] and self._over_budget(study):
            reason = "the time budget left room for finalists and confirm only"
            self._record({"event": "search_closed", "reason": reason})
            self._advance()
            return self._search_trial()
        index = len(state.trials["search"])
        history = state.trials["search"]
        sampled = propose(self.plan, study.id, arm, index, history)
        config = configs.search_config(self.plan, study, arm, index, sampled)
        return self._spec(study, arm, "search", index, config)

    def _over_budget(self, study: StudyPlan) -> bool:
        if self.plan.budget_seconds is None:
            return False
        committed = budget.committed_seconds(self.state, self.width)
        if committed is None:
            return False
        one_more = budget.full_trial_seconds(self.state, study) / self.width
        return self._clock() + committed + one_more > self.plan.budget_seconds

    def _finalist_trial(self) -> TrialSpec | None:
        for study, arm, state in self._places():
            if state.choice or state.given_up or not self._search_over((study, arm, state)):
                continue
            asked = {(t.spec.source, t.spec.config["split"]) for t in state.trials["finalists"]}
            for trial in finalists(state, self.plan.finalist_configs):
                for repeat in range(1, self.plan.finalist_repeats + 1):
                    if (trial.spec.trial, repeat) not in asked:
                        config = configs.finalist_config(self.plan, trial.spec.config, repeat)
                        source = trial.spec.trial
                        return self._spec(study, arm, "finalists", len(asked), config, source)
        return None

    def _confirm_trial(self) -> TrialSpec | None:
        for study, arm, state in self._places():
            index = len(state.trials["confirm"])
            if state.choice is not None and index < len(self.plan.confirm_seeds):
                config = configs.confirm_config(self.plan, state.choice.config, index)
                return self._spec(study, arm, "confirm", index, config, state.choice.source)
        return None

    def _spec(
        self,
        study: StudyPlan,
        arm: ArmPlan,
        phase: Phase,
        index: int,
        config: Config,
        source: str | None = None,
    ) -> TrialSpec:
        plan = self.plan
        return TrialSpec(
            trial=f"{study.id}/{arm.name}/{phase}-{index:03d}",
            study=study.id,
            arm=arm.name,
            phase=phase,
            index=index,
            epochs=plan.confirm_epochs if phase == "confirm" else plan.max_epochs,
            variant=arm.variant,
            config=config,
            source=source,
            keep_weights=phase == "confirm" and index == 0 and arm.name == "pc",
        )

    def _search_over(self, place: Place) -> bool:
        _, arm, state = place
        return arm.borrows is None and not self._search_open(place) and not state.running("search")

    def _advance(self) -> None:
        """Make every choice that the trials so far decide."""
        lenders_first = sorted(self._places(), key=lambda place: place[1].borrows is not None)
        for study, arm, state in lenders_first:
            if state.choice is not None or state.given_up is not None:
                continue
            if arm.borrows is not None:
                self._borrow(study, arm)
            elif self._search_over((study, arm, state)) and self._finalists_over(state):
                self._choose(study, arm, state)

    def _finalists_over(self, state: ArmState) -> bool:
        wanted = len(finalists(state, self.plan.finalist_configs)) * self.plan.finalist_repeats
        return len(state.trials["finalists"]) == wanted and not state.running("finalists")

    def _choose(self, study: StudyPlan, arm: ArmPlan, state: ArmState) -> None:
        plan = self.plan
        choice = choose(arm, state, plan.finalist_configs, plan.finalist_repeats)
        place = {"study": study.id, "arm": arm.name}
        if choice is None:
            self._record({"event": "given_up", **place, "reason": _why_nothing(state)})
        else:
            self._record({"event": "chosen", **place, **vars(choice)})

    def _borrow(self, study: StudyPlan, arm: ArmPlan) -> None:
        lender = self.state.arms[study.id, arm.borrows or ""]
        place = {"study": study.id, "arm": arm.name}
        if lender.given_up is not None:
            self._record({"event": "given_up", **place, "reason": lender.given_up})
        elif lender.choice is not None:
            config = configs.without_regulariser(lender.choice.config)
            choice = {"config": config, "source": lender.choice.source, "edge": None}
            self._record({"event": "chosen", **place, **choice, "score": None, "values": ()})


def _why_nothing(state: ArmState) -> str:
    """Why an arm has no fully trained trial to choose."""
    search = state.trials["search"]
    errors = [trial.error for trial in search if trial.state == "FAILED"]
    stopped = sum(trial.state == "PRUNED" for trial in search)
    also = f", {stopped} stopped early against one that failed later" if stopped else ""
    first = f"; the first failure: {errors[0]}" if errors else ""
    return f"no search trial was trained to the end: {len(errors)} failed{also}{first}"
