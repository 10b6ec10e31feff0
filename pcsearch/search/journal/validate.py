"""Checks that an event fits the events before it, before it changes a campaign's state.

A journal with lost, doubled or shuffled lines is refused: it would give a state that never existed.
Decisions need only be possible here; `audit.py` checks whether they are right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pcsearch.recipe.problems import show
from pcsearch.search.journal.events import Event
from pcsearch.search.journal.plan_check import check_wider, read_plan
from pcsearch.search.plan import ArmPlan, Plan

_ArmKey = tuple[str, str]
_MOST_HALVINGS = 20


@dataclass
class _Known:
    """What the events so far say of a trial."""

    arm_key: _ArmKey
    phase: str
    epochs: int
    last: int = 0
    running: bool = True
    halvings: int = 0


class History:
    """Takes a journal's events one by one, in order, after `check_event` has checked them."""

    def __init__(self) -> None:
        self._plan: Plan | None = None
        self._trials: dict[str, _Known] = {}
        self._arms: dict[_ArmKey, ArmPlan] = {}
        self._asked: dict[tuple[_ArmKey, str], int] = {}
        self._decided: set[_ArmKey] = set()
        self._resumed = 0
        self._ended = False
        self._before = ""
        self._rules: dict[str, Callable[[Event], None]] = {
            "asked": self._ask,
            "epoch": self._epoch,
            "failed": self._failed,
            "diverged": self._failed,
            "looked": self._looked,
            "retried": self._retried,
            "repeated": self._repeated,
            "chosen": self._chosen,
            "given_up": self._given_up,
            "resumed": self._resume,
            "extended": self._extended,
            "ended": self._end,
        }

    def check(self, event: Event) -> None:
        """Take the next event.

        Raises:
            ValueError: it does not fit the events before it; one line says why.
        """
        kind = event["event"]
        if self._plan is None:
            if kind != "campaign":
                raise ValueError("the journal does not begin with its campaign")
            self._use(read_plan(event["plan"]))
        elif kind == "campaign":
            raise ValueError("the campaign begins a second time")
        elif self._ended and ("trial" in event or kind == "asked"):
            raise ValueError("the campaign had ended and was not resumed")
        elif kind in self._rules:
            self._rules[kind](event)
        self._before = kind

    def _use(self, plan: Plan) -> None:
        self._plan = plan
        self._arms = {(study.id, arm.name): arm for study in plan.studies for arm in study.arms}

    def _ask(self, event: Event) -> None:
        spec = event["spec"]
        name, phase, arm_key = spec["trial"], spec["phase"], (spec["study"], spec["arm"])
        plan, arm = self._plan, self._arm(*arm_key)
        assert plan is not None
        if name in self._trials:
            raise ValueError(f"{show(name)} was asked before")
        if spec["epochs"] != plan.epochs(arm, phase):
            raise ValueError(f"{show(name)} has {spec['epochs']} epochs, unlike the plan")
        asked = self._asked.get((arm_key, phase), 0)
        if phase != "confirm" and spec["index"] != asked:
            raise ValueError(f"{show(name)} is not the next trial; its number must be {asked}")
        if (spec["config"]["split"] is None) != (phase == "confirm"):
            raise ValueError(f"the split of {show(name)} is {show(spec['config']['split'])}")
        _check_strength(spec["config"], arm)
        if (spec["source"] is None) != (phase == "search"):
            raise ValueError(f"the source of {show(name)} is {show(spec['source'])}")
        if spec["source"] is not None:
            self._check_source(spec["source"], arm_key[0])
        self._asked[arm_key, phase] = asked + 1
        self._trials[name] = _Known(arm_key, phase, spec["epochs"])

    def _epoch(self, event: Event) -> None:
        trial, epoch = self._running(event), event["epoch"]
        if epoch != trial.last + 1:
            raise ValueError(f"epoch {epoch} of {show(event['trial'])} follows epoch {trial.last}")
        confirm, last = trial.phase == "confirm", epoch == trial.epochs
        if (event["decision"] == "complete") != last:
            raise ValueError(
                f"epoch {epoch} of {trial.epochs} has the decision {event['decision']}"
            )
        if event["decision"] == "prune" and trial.phase != "search":
            raise ValueError(f"a trial of the phase {trial.phase} is stopped early")
        if (event["value"] is None) != confirm:
            raise ValueError(f"its value is {show(event['value'])} in the phase {trial.phase}")
        if event.get("test") is not None:
            if not (confirm and last):
                raise ValueError("it has test metrics before a confirm trial's last epoch")
            self._check_test(event["test"])
        if event.get("predictions") is not None and not (last and trial.phase != "search"):
            raise ValueError("it has predictions before a retraining's last epoch")
        trial.last = epoch
        trial.running = event["decision"] == "continue"

    def _check_test(self, test: dict[str, float | None]) -> None:
        assert self._plan is not None
        score = test.get(self._plan.metric)
        if score is None or abs(score) > 1e9:
            raise ValueError(f"its test metrics have no {self._plan.metric} in percent")

    def _failed(self, event: Event) -> None:
        self._running(event).running = False

    def _retried(self, event: Event) -> None:
        trial = self._running(event)
        trial.halvings += event["kind"] == "memory"
        if trial.halvings > _MOST_HALVINGS:
            raise ValueError(f"the batches of {show(event['trial'])} are halved too often")

    def _repeated(self, event: Event) -> None:
        if event["epoch"] > self._running(event).last:
            raise ValueError(f"epoch {event['epoch']} is repeated, but did not happen before")

    def _chosen(self, event: Event) -> None:
        arm_key = (event["study"], event["arm"])
        arm = self._decide(arm_key)
        _check_strength(event["config"], arm)
        self._check_source(event["source"], arm_key[0])

    def _looked(self, event: Event) -> None:
        if all(study != event["study"] for study, _ in self._arms):
            raise ValueError(f"the plan has no study {show(event['study'])}")

    def _given_up(self, event: Event) -> None:
        self._decide((event["study"], event["arm"]))

    def _resume(self, event: Event) -> None:
        self._resumed += 1
        if event["attempt"] != self._resumed:
            raise ValueError(f"its attempt is {event['attempt']}, but must be {self._resumed}")
        self._ended = False

    def _extended(self, event: Event) -> None:
        plan = read_plan(event["plan"])
        if self._before != "resumed":
            raise ValueError("the plan is widened without a resume before it")
        assert self._plan is not None
        check_wider(self._plan, plan)
        self._use(plan)
        self._decided.clear()  # an arm that is searched further is decided again

    def _end(self, event: Event) -> None:
        self._ended = True

    def _running(self, event: Event) -> _Known:
        trial = self._trials.get(event["trial"])
        if trial is None:
            raise ValueError(f"{show(event['trial'])} was never asked")
        if not trial.running:
            raise ValueError(f"{show(event['trial'])} had ended")
        return trial

    def _arm(self, study: str, arm: str) -> ArmPlan:
        if (study, arm) not in self._arms:
            raise ValueError(f"the plan has no arm {show(arm)} of {show(study)}")
        return self._arms[study, arm]

    def _decide(self, arm_key: _ArmKey) -> ArmPlan:
        arm = self._arm(*arm_key)
        if arm_key in self._decided:
            raise ValueError(f"{show(arm_key[1])} of {show(arm_key[0])} was decided before")
        self._decided.add(arm_key)
        return arm

    def _check_source(self, source: str, study: str) -> None:
        trial = self._trials.get(source)
        if trial is None or trial.phase != "search" or trial.arm_key[0] != study:
            raise ValueError(f"its source {show(source)} is no search trial of {show(study)}")


def _check_strength(config: dict[str, float | None], arm: ArmPlan) -> None:
    for name in arm.own:
        if config.get(name) is None:
            raise ValueError(f"its configuration has no {name}")
