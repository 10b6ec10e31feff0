"""The numbers that a view shows of a campaign: `snapshot(state, ...)`."""

from __future__ import annotations

from dataclasses import dataclass

from pcsearch.search.estimate import remaining_seconds
from pcsearch.search.next_trial import searches_over
from pcsearch.search.plan import ArmPlan, StudyPlan
from pcsearch.search.selection import candidates
from pcsearch.search.state import ArmState, CampaignState
from pcsearch.search.trial import UNTRAINED, Config, Phase, Trial


@dataclass(frozen=True)
class DoneOfAll:
    """Trials of a phase: `ended` of `planned`; `done` counts running ones by their epochs."""

    ended: int
    planned: int
    done: float

    @property
    def text(self) -> str:
        return f"{self.ended}/{self.planned}" if self.planned else "–"


@dataclass(frozen=True)
class Best:
    """An arm's best fully trained configuration so far, or its choice."""

    value: float | None
    config: Config
    curve: tuple[float, ...]
    chosen: bool


@dataclass(frozen=True)
class ArmProgress:
    name: str
    counts: dict[Phase, DoneOfAll]
    best: Best | None
    settled: bool
    given_up: str | None

    @property
    def fraction(self) -> float:
        return 1.0 if self.settled else fraction_done(list(self.counts.values()))


@dataclass(frozen=True)
class StudyProgress:
    id: str
    arms: tuple[ArmProgress, ...]
    running: int

    @property
    def settled(self) -> bool:
        return all(arm.settled for arm in self.arms)


@dataclass(frozen=True)
class Running:
    """A running trial; `value` in percent is None before its first validation."""

    label: str
    epoch: int
    epochs: int
    value: float | None
    curve: tuple[float, ...]


@dataclass(frozen=True)
class Snapshot:
    """A campaign at one moment."""

    name: str
    elapsed_seconds: float
    remaining_seconds: float | None
    budget_seconds: float | None
    epochs: int
    complete: int
    pruned: int
    failed: int
    studies: tuple[StudyProgress, ...]
    running: tuple[Running, ...]
    """Includes trials that wait for a node; the state does not say which."""
    waiting: int
    set_aside: int
    """Confirm trials of choices that a wider search replaced; they count as planned."""
    last_failure: str | None
    search_closed: str | None

    @property
    def ended(self) -> int:
        return self.complete + self.pruned + self.failed

    @property
    def trained(self) -> int:
        """Number of trials that train on a node."""
        return len(self.running) - self.waiting

    @property
    def counts(self) -> list[DoneOfAll]:
        return [c for study in self.studies for arm in study.arms for c in arm.counts.values()]

    @property
    def planned(self) -> int:
        return sum(count.planned for count in self.counts) + self.set_aside


def snapshot(
    state: CampaignState, elapsed_seconds: float, width: int, waiting: int = 0
) -> Snapshot:
    """The campaign now.

    Args:
        state: The campaign's state.
        elapsed_seconds: Since its start, or since it was resumed.
        width: Number of trials at once.
        waiting: Number of them that wait for a node.
    """
    trials = state.trials.values()
    states = [trial.state for trial in trials]
    failures = [trial for trial in trials if trial.state in UNTRAINED]
    return Snapshot(
        name=state.plan.name,
        elapsed_seconds=elapsed_seconds,
        remaining_seconds=remaining_seconds(state, width),
        budget_seconds=state.plan.budget_seconds,
        epochs=sum(len(trial.epochs) for trial in trials),
        complete=states.count("COMPLETE"),
        pruned=states.count("PRUNED"),
        failed=len(failures),
        studies=tuple(study_progress(state, study) for study in state.plan.studies),
        running=tuple(_running(trial) for trial in state.running.values()),
        waiting=min(waiting, len(state.running)),
        set_aside=sum(len(arm.earlier) for arm in state.arms.values()),
        last_failure=f"{arm_label(failures[-1])}: {failures[-1].error}" if failures else None,
        search_closed=state.search_closed,
    )


def study_progress(state: CampaignState, study: StudyPlan) -> StudyProgress:
    """The progress of a study."""
    arms = tuple(_arm(state, study, arm) for arm in study.arms)
    running = sum(trial.spec.study == study.id for trial in state.running.values())
    return StudyProgress(study.id, arms, running)


def fraction_done(counts: list[DoneOfAll]) -> float:
    """The share of planned trials that is done, from 0 to 1."""
    planned = sum(count.planned for count in counts)
    return sum(count.done for count in counts) / planned if planned else 0.0


def arm_label(trial: Trial) -> str:
    """`digits/compact_cnn pc search 3`; numbers begin with 0, as in the trial's id."""
    spec = trial.spec
    return f"{spec.study} {spec.arm} {spec.phase} {spec.index}"


def curve(trial: Trial) -> tuple[float, ...]:
    """A trial's validation values, in percent; empty in confirm."""
    return tuple(epoch.value for epoch in trial.epochs if epoch.value is not None)


def _arm(state: CampaignState, study: StudyPlan, plan: ArmPlan) -> ArmProgress:
    arm = state.arms[study.id, plan.name]
    counts = {
        phase: _count(arm.trials[phase], planned)
        for phase, planned in _planned(state, study, plan).items()
    }
    confirmed = len(arm.trials["confirm"]) >= state.wanted_seeds(study.id)
    settled = (arm.choice is not None and confirmed) or arm.given_up is not None
    return ArmProgress(
        name=plan.name,
        counts=counts,
        best=_best(state, arm),
        settled=settled and not any(arm.running(phase) for phase in arm.trials),
        given_up=arm.given_up,
    )


def _planned(state: CampaignState, study: StudyPlan, arm: ArmPlan) -> dict[Phase, int]:
    """The total number of trials of the arm, by phase."""
    done = state.arms[study.id, arm.name]
    asked = {phase: len(trials) for phase, trials in done.trials.items()}
    if done.given_up is not None:
        return asked
    search = arm.trials
    if state.search_closed is not None:
        search = min(search, max(1, asked["search"]))
    return {
        "search": search,
        "finalists": asked["finalists"] if done.choice else _finalists(state, study, arm),
        "confirm": state.wanted_seeds(study.id),
    }


def _finalists(state: CampaignState, study: StudyPlan, arm: ArmPlan) -> int:
    """The number of finalists; before every arm has searched, the largest possible."""
    if arm.borrows is not None:
        return 0
    if not searches_over(state, study):
        asked = len(state.arms[study.id, arm.name].trials["finalists"])  # from a narrower search
        return asked + state.plan.most_finalists(study)
    return len(candidates(state, study, arm)) * state.plan.finalist_repeats


def _count(trials: list[Trial], planned: int) -> DoneOfAll:
    ended = sum(trial.state != "RUNNING" for trial in trials)
    part = sum(t.last_epoch / t.spec.epochs for t in trials if t.state == "RUNNING")
    return DoneOfAll(ended, planned, ended + part)


def _best(state: CampaignState, arm: ArmState) -> Best | None:
    if arm.choice is not None:
        source = state.trials[arm.choice.source]
        values = curve(source) if arm.choice.score is not None else ()
        return Best(arm.choice.score, arm.choice.config, values, chosen=True)
    leading = arm.best(1)
    if not leading:
        return None
    return Best(leading[0].last_value, leading[0].spec.config, curve(leading[0]), chosen=False)


def _running(trial: Trial) -> Running:
    return Running(
        label=arm_label(trial),
        epoch=trial.last_epoch,
        epochs=trial.spec.epochs,
        value=trial.last_value,
        curve=curve(trial),
    )
