"""The campaign's state, folded from its journal: state = replay(events).

Each trial updates the sums and orders that decisions need. So a decision costs the same after a
hundred thousand trials as after a hundred.

`CampaignState.apply` is the only code that changes the state. So a live campaign, a resumed one and
a reader of the run folder all see the same.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from pcsearch.errors import UserError
from pcsearch.search.asha import Ladder, Noise
from pcsearch.search.journal.journal_file import Event, Mismatch
from pcsearch.search.plan import JOURNAL_SCHEMA, READABLE, Plan
from pcsearch.search.trial import (
    UNTRAINED,
    Config,
    EpochResult,
    FailureKind,
    Phase,
    Rank,
    Trial,
    TrialSpec,
    TrialState,
    last_value,
    rank,
)


@dataclass(frozen=True)
class Choice:
    """The configuration that an arm confirms."""

    config: Config
    source: str
    """The search trial it comes from."""
    score: float | None
    """Mean of the last epoch's metric over fresh repeats, in percent. Without finalists, the search
    trial's own value; None for a borrowed choice."""
    values: tuple[float, ...]
    edge: Literal["low", "high"] | None = None
    """The end of its range that the regulariser's strength is at, if any."""
    edges: dict[str, Literal["low", "high"]] = field(default_factory=dict)
    """Every searched value at an end of its range, with that end."""


@dataclass
class ArmState:
    """An arm of a study, folded from the journal."""

    ladder: Ladder
    trials: dict[Phase, list[Trial]] = field(
        default_factory=lambda: {"search": [], "finalists": [], "confirm": []}
    )
    choice: Choice | None = None
    given_up: str | None = None
    """Why nothing could be chosen."""
    ignored: int = 0
    """Search trials asked before the search was reopened: their cause of failure may be fixed."""
    earlier: list[Trial] = field(default_factory=list)
    """Confirm trials of choices that a wider search withdrew. A choice that is made again gets its
    trials back."""
    epochs_left: Counter[tuple[Phase, int]] = field(default_factory=Counter)
    """Number of running trials, by phase and by the epochs to their full budget."""
    complete: int = 0
    """Number of search trials trained to their full budget."""
    trained: int = 0
    """Number of search trials that saw whole batches and completed or were stopped early."""
    _ranked: list[tuple[Rank, Trial]] = field(default_factory=list)

    def add(self, trial: Trial) -> None:
        """Add a trial that was asked."""
        self.trials[trial.spec.phase].append(trial)
        self.epochs_left[trial.spec.phase, trial.epochs_left] += 1

    def moved(self, trial: Trial, epochs_left: int) -> None:
        """Update for a running trial that advanced or ended; it had `epochs_left` before."""
        phase = trial.spec.phase
        self.epochs_left[phase, epochs_left] -= 1
        if not self.epochs_left[phase, epochs_left]:
            del self.epochs_left[phase, epochs_left]
        if trial.state == "RUNNING":
            self.epochs_left[phase, trial.epochs_left] += 1
        elif phase == "search" and trial.state not in UNTRAINED:
            self.complete += trial.state == "COMPLETE"
            self.trained += trial.comparable
            if trial.state == "COMPLETE" and trial.comparable:
                insort(
                    self._ranked,
                    (rank([last_value(trial)], trial.spec.config, trial), trial),
                    key=_first,
                )

    def best(self, count: int) -> list[Trial]:
        """The best fully trained search trials that saw whole batches, best first."""
        return [trial for _, trial in self._ranked[:count]]

    def reopen(self) -> None:
        """Withdraw the choice, as the search continues."""
        self.earlier += self.trials["confirm"]
        self.trials["confirm"] = []
        self.choice = self.given_up = None
        self.ignored = len(self.trials["search"])

    def choose(self, choice: Choice) -> None:
        """Set the choice; earlier confirm trials of the same configuration count."""
        self.choice = choice
        mine = [trial for trial in self.earlier if _same(trial.spec.config, choice.config)]
        self.earlier = [trial for trial in self.earlier if trial not in mine]
        self.trials["confirm"] += mine

    @property
    def judged(self) -> list[Trial]:
        """The search trials that count for giving up: all except failures before a reopening."""
        search = self.trials["search"]
        trained = [t for t in search[: self.ignored] if t.comparable and t.state not in UNTRAINED]
        return trained + search[self.ignored :]

    def running(self, phase: Phase) -> int:
        """Number of running trials in a phase."""
        return sum(count for (of, _), count in self.epochs_left.items() if of == phase)


def _same(one: Config, other: Config) -> bool:
    """Whether two configurations are equal except for seed and split."""
    own = ("seed", "split")
    return {k: v for k, v in one.items() if k not in own} == {
        k: v for k, v in other.items() if k not in own
    }


def _first(ranked: tuple[Rank, Trial]) -> Rank:
    return ranked[0]


Status = Literal["running", "complete", "interrupted", "failed"]
_STATE_AFTER: dict[str, TrialState] = {
    "continue": "RUNNING",
    "prune": "PRUNED",
    "complete": "COMPLETE",
}


_FIRST_LOOK = 0.04
"""The error rate of a look in journals of versions that did not record it."""


@dataclass
class Trained:
    """A study's training so far: images, counted once per epoch and unit of cost, and `seconds`.

    See `ArmPlan.cost`.
    """

    images: float = 0.0
    seconds: float = 0.0
    slowest: float | None = None
    """The most seconds per image of any epoch."""

    def add(self, images: float, seconds: float) -> None:
        self.images += images
        self.seconds += seconds
        if images:
            self.slowest = max(self.slowest or 0.0, seconds / images)


@dataclass(frozen=True)
class Look:
    """One look at a study's test images: after how many seeds, at which error rate.

    `decided` says whether it ended `confirm.until: decided`. `could_decide` says whether there was
    an interval. A look without one can say neither "helps" nor "hurts", and costs no error rate.
    """

    seeds: int
    alpha: float
    decided: bool
    could_decide: bool = True


class CampaignState:
    """Everything known of a campaign."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.status: Status = "running"
        self.events = 1
        """Number of events folded in, including the first one of the campaign itself."""
        self.seconds = 0.0
        """The campaign's age at its latest event."""
        self.nodes = 0
        """Nodes with room for trials, if the campaign has a budget in money; else 0."""
        self.slots_per_node: float | None = None
        """Trials that such a node has room for; None before the first node."""
        self.node_seconds = 0.0
        """Time of all nodes together, until the latest event."""
        self.search_closed: str | None = None
        """Why the budget closed the search phase, if it did."""
        self.trials: dict[str, Trial] = {}
        self.arms: dict[tuple[str, str], ArmState] = {}
        self.trained: dict[str, Trained] = {}
        """By study."""
        self.looks: dict[str, list[Look]] = {}
        """By study: how often its test accuracies were compared."""
        self.unseen: set[str] = set()
        """Studies with confirm trials that ended after the latest look."""
        self._add_arms()
        self.running: dict[str, Trial] = {}
        self.resumed = 0
        """How often the campaign was resumed."""
        self.recipe: str | None = None
        """The recipe's text, if a resume changed it."""
        self.mismatches: tuple[Mismatch, ...] = ()
        """Mismatches in its journal, by line; see `audit.py`."""
        self.unsealed: int = 0
        """Number of first lines of its journal without a seal."""

    def apply(self, event: Event) -> None:
        """Fold one event in."""
        self.events += 1
        passed = max(0.0, float(event.get("t", 0.0)) - self.seconds)
        self.seconds += passed
        self.node_seconds += passed * self.nodes
        kind = event["event"]
        if kind == "asked":
            self._asked(event)
        elif kind == "epoch":
            self._epoch(event)
        elif kind == "repeated":
            trial = self.trials[event["trial"]]
            trial.repeated += 1
            trial.repeated_seconds += event["seconds"]
            trial.differing += not event["same"]
        elif kind == "retried":
            self._retried(self.trials[event["trial"]], event["kind"])
        elif kind in ("failed", "diverged"):
            self._failed(self.trials[event["trial"]], event["error"], diverged=kind == "diverged")
        elif kind == "chosen":
            self._chosen(event)
        elif kind == "looked":
            could = any(gain["low"] is not None for gain in event["gains"].values())
            look = Look(event["seeds"], event["alpha"], event["decided"], could)
            self.looks[event["study"]].append(look)
            self.unseen.discard(event["study"])
        elif kind == "given_up":
            self.arms[event["study"], event["arm"]].given_up = event["reason"]
        elif kind == "search_closed":
            self.search_closed = event["reason"]
        elif kind == "ended":
            self.status = event["status"]
            if self.status != "interrupted":  # earlier versions recorded no look
                for study in sorted(self.unseen):
                    seeds = self.plan.looks[-1]
                    self.looks[study].append(Look(seeds, _FIRST_LOOK, decided=False))
                self.unseen.clear()
        elif kind == "resumed":
            self.status = "running"
            self.resumed += 1
            self.nodes = 0
            for trial in self.running.values():
                trial.attempt += 1
        elif kind == "machines":
            self.nodes = event["nodes"]
            if self.nodes:
                self.slots_per_node = event["slots"] / self.nodes
        elif kind == "extended":
            self._extend(Plan.model_validate(event["plan"]))
            self.recipe = event["recipe"]
        else:
            raise UserError(f'the journal has an event of unknown kind "{kind}"')

    def wanted_seeds(self, study: str) -> int:
        """Confirm seeds that each of the study's arms needs before the next look."""
        looks = self.looks[study]
        if looks and looks[-1].decided:
            return looks[-1].seeds
        last = looks[-1].seeds if looks else 0
        return next((seeds for seeds in self.plan.looks if seeds > last), self.plan.looks[-1])

    def failed_studies(self) -> tuple[str, ...]:
        """Studies with an arm without a choice, or whose confirm trials all failed or diverged."""
        return tuple(
            study.id
            for study in self.plan.studies
            if any(self._arm_failed(self.arms[study.id, arm.name]) for arm in study.arms)
        )

    def _arm_failed(self, arm: ArmState) -> bool:
        confirm = arm.trials["confirm"]
        asked = bool(confirm) and len(confirm) >= self.plan.looks[0]
        return arm.given_up is not None or (
            asked and all(trial.state in UNTRAINED for trial in confirm)
        )

    def _asked(self, event: Event) -> None:
        trial = Trial(TrialSpec(**event["spec"]))
        self.trials[trial.spec.trial] = trial
        self.running[trial.spec.trial] = trial
        self.arms[trial.spec.study, trial.spec.arm].add(trial)

    def _epoch(self, event: Event) -> None:
        trial = self.trials[event["trial"]]
        arm, left = self.arms[trial.spec.study, trial.spec.arm], trial.epochs_left
        result = EpochResult(event["epoch"], event["value"], event["seconds"], event["metrics"])
        trial.epochs.append(result)
        trial.lost_nodes = 0
        if trial.spec.phase == "search" and trial.comparable and result.value is not None:
            arm.ladder.record(trial.spec.trial, result.epoch, result.value)
        trial.test = event.get("test") or trial.test
        trial.hits = event.get("hits") or trial.hits
        trial.weights_error = event.get("weights_error")
        kept = event.get("predictions") or {}
        trial.predictions, trial.predictions_error = kept.get("sha256"), kept.get("error")
        trial.state = _STATE_AFTER[event["decision"]]
        arm.moved(trial, left)
        study = self.plan.study(trial.spec.study)
        images = study.images.of(trial.spec.phase) * study.arm(trial.spec.arm).cost
        self.trained[trial.spec.study].add(images, result.seconds)
        if trial.state != "RUNNING":
            self._ended(trial)

    def _ended(self, trial: Trial) -> None:
        self.running.pop(trial.spec.trial, None)
        if trial.spec.phase == "confirm":
            self.unseen.add(trial.spec.study)

    def _failed(self, trial: Trial, error: str, *, diverged: bool) -> None:
        running = trial.state == "RUNNING"
        trial.state, trial.error = "DIVERGED" if diverged else "FAILED", error
        self._ended(trial)
        if running:
            self.arms[trial.spec.study, trial.spec.arm].moved(trial, trial.epochs_left)

    def _chosen(self, event: Event) -> None:
        choice = Choice(
            config=event["config"],
            source=event["source"],
            score=event["score"],
            values=tuple(event["values"]),
            edge=event["edge"],
            edges=dict(event.get("edges", {})),
        )
        self.arms[event["study"], event["arm"]].choose(choice)

    def _retried(self, trial: Trial, kind: FailureKind) -> None:
        trial.attempt += 1
        trial.begun_again += 1
        if kind == "node":
            trial.lost_nodes += 1
        elif kind == "memory":
            trial.micro_batches *= 2
        else:
            trial.retries += 1

    def _extend(self, plan: Plan) -> None:
        """Switch to a wider plan; an arm whose search continues is decided again."""
        if _budget(plan) != _budget(self.plan):
            self.search_closed = None
        self.plan = plan
        self._add_arms()
        for looks in self.looks.values():  # a wider run asks for more than the last look showed
            looks[:] = [replace(look, decided=False) for look in looks]
        if self.search_closed is not None:
            return
        for study in plan.studies:
            arms = {arm.name: self.arms[study.id, arm.name] for arm in study.arms}
            for arm in study.arms:
                if len(arms[arm.name].trials["search"]) < arm.trials:
                    arms[arm.name].reopen()
            for arm in study.arms:  # a borrowed choice ends with its lender's
                if arm.borrows is not None and arms[arm.borrows].choice is None:
                    arms[arm.name].reopen()

    def _add_arms(self) -> None:
        plan = self.plan
        for study in plan.studies:
            self.trained.setdefault(study.id, Trained())
            self.looks.setdefault(study.id, [])
            chance = study.guessing(plan.metric)
            noise = Noise(study.images.val, chance) if plan.rung_rule == "noise" else None
            for arm in study.arms:
                most = plan.epochs(arm, "search")
                ladder = Ladder(most, plan.grace_epochs, plan.reduction_factor, noise)
                self.arms.setdefault((study.id, arm.name), ArmState(ladder))


def _budget(plan: Plan) -> tuple[float | None, ...]:
    return (plan.budget_seconds, plan.budget_cost, plan.price_per_node_hour)


def replay(
    events: Iterable[Event], look: Callable[[CampaignState, Event], None] | None = None
) -> CampaignState:
    """Fold a whole journal; `look` sees every event except the first before it changes the state.

    Raises:
        UserError: the journal is empty, or has a format that this version cannot read.
    """
    stream = iter(events)
    first = next(stream, None)
    if first is None or first["event"] != "campaign":
        raise UserError("the journal does not begin with its campaign; nothing was started")
    written = first["plan"].get("schema_version")
    if written not in READABLE:
        raise UserError(
            f"the journal has format {written}, but this version reads formats up to "
            f"{JOURNAL_SCHEMA}; read it with the version that environment.json names"
        )
    state = CampaignState(Plan.model_validate(first["plan"]))
    for event in stream:
        if look is not None:
            look(state, event)
        state.apply(event)
    return state
