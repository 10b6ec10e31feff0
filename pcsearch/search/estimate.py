"""How much a campaign costs, and which study is next: the one with the longest critical path.

Expected numbers assume that trials run one by one in random order, keep their rank at every rung,
and never fail. For rungs that know their noise, accuracies are assumed normal around 50 % with a
standard deviation of 8 points.

A study's finalists wait for its search, and its confirm trials wait for its choice. So a long study
that starts late ends alone in an idle cluster. The longest study therefore has the cluster to
itself and decides as in its own campaign. The others fill the gaps that it leaves.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist

from pcsearch.search import budget
from pcsearch.search.asha import Ladder, Noise, rungs
from pcsearch.search.plan import ArmPlan, Plan, StudyPlan
from pcsearch.search.state import ArmState, CampaignState
from pcsearch.search.trial import Phase

_SIMULATED_TRIALS = 20_000
_SPREAD = 8.0
"""Standard deviation of the trials' accuracies at a rung, in points."""

_MORE_TRIALS, _ROUNDS = 50_000, 50
"""A ladder with many trials gets `_ROUNDS` rounds, but `_MORE_TRIALS` trials in all at most."""


@dataclass(frozen=True)
class LadderLevel:
    """A level of the ladder: a rung, or the full budget. `trials` of one arm reach it."""

    epoch: int
    trials: float


@dataclass(frozen=True)
class Work:
    """An amount of training, at most or expected.

    `search_epochs` is the same in units of an epoch of the control's search. A confirm epoch takes
    longer, as it trains on the validation images as well. So does an arm with a higher cost.
    """

    epochs: float = 0.0
    search_epochs: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(self.epochs + other.epochs, self.search_epochs + other.search_epochs)


@dataclass(frozen=True)
class StudyEstimate:
    """The most trials of a study, by phase, and its epochs."""

    study: str
    search_trials: int
    finalist_trials: int
    confirm_trials: int
    at_most: Work
    expected: Work


@dataclass(frozen=True)
class Estimate:
    """The most trials of a whole plan, and its epochs."""

    studies: tuple[StudyEstimate, ...]
    trials: int
    at_most: Work
    expected: Work


def ladder(arm: ArmPlan, plan: Plan, study: StudyPlan) -> tuple[LadderLevel, ...]:
    """The levels of an arm's ladder, with the expected number of its trials that reach each."""
    noisy = study.images.val if plan.rung_rule == "noise" else None
    full = min(arm.trials, plan.full_trainings)
    most = plan.epochs(arm, "search")
    return _simulated(arm.trials, most, plan.grace_epochs, plan.reduction_factor, noisy, full)


def expected_epochs(arm: ArmPlan, plan: Plan, study: StudyPlan) -> float:
    """Search epochs that an arm is expected to run."""
    levels = ladder(arm, plan, study)
    steps = pairwise((0, *(level.epoch for level in levels)))
    return sum(level.trials * (to - fro) for level, (fro, to) in zip(levels, steps, strict=True))


@functools.cache
def _simulated(
    trials: int,
    max_epochs: int,
    grace_epochs: int,
    reduction_factor: int,
    val_images: int | None,
    full_trainings: int,
) -> tuple[LadderLevel, ...]:
    """Real ladders, averaged over random orders of trials that keep their rank at every rung.

    There is no closed form. Trials that pass a rung late had stronger rivals there than those that
    passed it early. So their order at the next rung is no longer random.
    """
    levels = (*rungs(max_epochs, grace_epochs, reduction_factor), max_epochs)
    reached = dict.fromkeys(levels, 0)
    rounds = max(2, _SIMULATED_TRIALS // trials, min(_ROUNDS, _MORE_TRIALS // trials))
    generator = random.Random(0)
    noise = None if val_images is None else Noise(max(1, val_images), 0.0)
    normal = NormalDist(50.0, _SPREAD)
    values = [normal.inv_cdf((rank + 0.5) / trials) for rank in range(trials)]
    for _ in range(rounds):
        asha = Ladder(max_epochs, grace_epochs, reduction_factor, noise)
        complete = 0
        for trial, rank in enumerate(generator.sample(range(trials), trials)):
            needed = complete + trials - trial - 1 < full_trainings
            for level in levels:
                reached[level] += 1
                if not asha.record(str(trial), level, values[rank]) and not needed:
                    break
            else:
                complete += 1
    return tuple(LadderLevel(level, reached[level] / rounds) for level in levels)


def estimate(plan: Plan) -> Estimate:
    """Trials and epochs of a plan, at most and expected. Ignores its time budget."""
    studies = tuple(_study(plan, study) for study in plan.studies)
    return Estimate(
        studies=studies,
        trials=sum(s.search_trials + s.finalist_trials + s.confirm_trials for s in studies),
        at_most=sum((study.at_most for study in studies), Work()),
        expected=sum((study.expected for study in studies), Work()),
    )


@dataclass(frozen=True)
class Speed:
    """Seconds of one trial: for an image it trains on, for one it validates, and to begin.

    `once` is what an image takes before the first trial: its features, with a frozen body.
    """

    train: float
    evaluate: float
    begin: float = 0.0
    once: float = 0.0


_BEGIN_SECONDS = 0.3
"""To start a trial in a worker that runs, and to end it, apart from building its network."""

_START_SECONDS = 10.0
"""From the plan to the first trial: workers import PyTorch."""


def campaign_seconds(
    plan: Plan, speeds: Mapping[str, Speed], max_concurrent: int
) -> tuple[float, float]:
    """Expected wall seconds of a plan, and the most, from each study's speed by its id."""
    expected = most = 0.0
    for study, sizes in zip(plan.studies, estimate(plan).studies, strict=True):
        speed = speeds[study.id]
        epoch = study.images.fit * speed.train + study.images.val * speed.evaluate
        trials = sizes.search_trials + sizes.finalist_trials + sizes.confirm_trials
        begun = trials * (speed.begin + _BEGIN_SECONDS)
        begun += speed.once * (
            study.images.train + (study.images.test if sizes.confirm_trials else 0)
        )
        expected += training_seconds(sizes.expected, epoch) + begun
        most += training_seconds(sizes.at_most, epoch) + begun
    return _START_SECONDS + expected / max_concurrent, _START_SECONDS + most / max_concurrent


def training_seconds(work: Work, seconds_per_epoch: float) -> float:
    """Seconds of trials that run one by one, given the seconds of a search epoch."""
    return budget.SLACK * work.search_epochs * seconds_per_epoch


def remaining_seconds(state: CampaignState, max_concurrent: int) -> float | None:
    """Wall seconds that the campaign still takes; None while nothing has been measured.

    Running trials count to their full budget, later search trials with their expected epochs.
    """
    committed = budget.committed_seconds(state, max_concurrent)
    if committed is None:
        return None
    if state.search_closed is not None:
        return committed
    waiting = sum(
        _waiting_trials(state, study, arm) * _expected_seconds(state, study, arm)
        for study in state.plan.studies
        for arm in study.arms
        if arm.trials
    )
    return committed + waiting / max(1, max_concurrent)


def _waiting_trials(state: CampaignState, study: StudyPlan, arm: ArmPlan) -> int:
    """Search trials not asked yet, without the arm's first one, which counts as certain."""
    return arm.trials - max(1, len(state.arms[study.id, arm.name].trials["search"]))


def _expected_seconds(state: CampaignState, study: StudyPlan, arm: ArmPlan) -> float:
    full = arm.trials * state.plan.epochs(arm, "search")
    share = expected_epochs(arm, state.plan, study) / full
    return share * budget.full_trial_seconds(state, study, arm)


def _study(plan: Plan, study: StudyPlan) -> StudyEstimate:
    searching = [arm for arm in study.arms if arm.trials]
    confirm = len(plan.confirm_seeds) * len(study.arms)
    confirmed = sum((_confirm_work(plan, study, arm) for arm in study.arms), Work())
    at_most, expected = confirmed, confirmed
    finalists = 0
    for arm in searching:
        retrained, epochs = plan.most_finalists(study), plan.epochs(arm, "search")
        finalists += retrained
        full = (arm.trials + retrained) * epochs
        at_most += Work(full, full * arm.cost)
        fully_trained = ladder(arm, plan, study)[-1].trials
        likely = expected_epochs(arm, plan, study)
        most = min(plan.finalist_configs, arm.trials)
        share = min(1.0, fully_trained / most) if most else 0.0
        likely += share * retrained * epochs
        expected += Work(likely, likely * arm.cost)
    return StudyEstimate(
        study=study.id,
        search_trials=sum(arm.trials for arm in searching),
        finalist_trials=finalists,
        confirm_trials=confirm,
        at_most=at_most,
        expected=expected,
    )


def _confirm_work(plan: Plan, study: StudyPlan, arm: ArmPlan) -> Work:
    epochs = len(plan.confirm_seeds) * plan.epochs(arm, "confirm")
    return Work(epochs, epochs * arm.cost * study.images.train / max(1, study.images.fit))


ArmRef = tuple[StudyPlan, ArmPlan, ArmState]

_BEGUN = 1.25
"""A search that has begun waits only for a critical path that is so many times longer."""


@dataclass(frozen=True)
class Step:
    """The next trial of a study."""

    phase: Phase
    arm_ref: ArmRef

    @property
    def study(self) -> StudyPlan:
        return self.arm_ref[0]


_NEARLY = 0.9
"""A study whose images are decoded goes first if its path has this share of the longest one."""


def pick_study(
    state: CampaignState,
    steps: Sequence[Step],
    decoded: Collection[str] = frozenset(),
    *,
    timed: bool = True,
) -> Step:
    """The most urgent of the studies' steps, one per study at most. Ties go to the plan's first.

    - With a budget, search trials come first, as the budget may close the search. The study whose
      search is the least far goes first, so each gets its share.
    - Else the first trial of each backbone comes first: it shows how fast that backbone trains.
    - Then the longest critical path goes first.

    Among nearly equal critical paths, a study of the `decoded` datasets goes first. Its node need
    not decode other images before it trains.

    Unless `timed`, paths are counted in images alone. With one trial at a time there is nothing to
    pack, and the order must not depend on the machine's speed.
    """
    rates = _rates(state) if timed else dict.fromkeys((s.id for s in state.plan.studies), 1.0)
    shared = state.plan.budget_seconds is not None or state.plan.budget_cost is not None
    tried = {study.backbone for study in state.plan.studies if _begun(state, study)}

    def urgency(step: Step) -> tuple[int, float]:
        study, arm, done = step.arm_ref
        way = _images(state.plan, study, step.phase) * rates[study.id]
        if step.phase != "search":
            return 1, way
        if shared:
            return 2, -len(done.trials["search"]) / arm.trials
        if study.backbone not in tried:
            return 2, way
        return 1, way * (_BEGUN if _begun(state, study) else 1.0)

    foremost = max(steps, key=urgency)
    kind, most = urgency(foremost)
    near = most if shared and kind == 2 else _NEARLY * most
    warm = [step for step in steps if step.study.dataset in decoded]
    warm = [step for step in warm if urgency(step) >= (kind, near)]
    return foremost if foremost in warm or not warm else max(warm, key=urgency)


def _begun(state: CampaignState, study: StudyPlan) -> bool:
    return any(state.arms[study.id, arm.name].trials["search"] for arm in study.arms)


def _images(plan: Plan, study: StudyPlan, phase: Phase) -> float:
    """Length of the study's critical path from `phase`, in images of its dearest arm."""
    confirm = max(plan.full_cost(arm, "confirm") for arm in study.arms)
    images = study.images.train * confirm if plan.confirm_seeds else 0
    if phase == "confirm":
        return images
    search = study.images.fit * max(plan.full_cost(arm, "search") for arm in study.arms)
    if phase == "finalists" or (plan.finalist_configs and plan.finalist_repeats):
        images += search
    return images + (search if phase == "search" else 0)


def _rates(state: CampaignState) -> dict[str, float]:
    """Seconds per image, by study: measured, else the slowest of its backbone, of all, or 1."""
    studies, measured = state.plan.studies, budget.seconds_per_image(state)
    slowest: dict[str, float] = {}
    for study in studies:
        if study.id in measured:
            slowest[study.backbone] = max(measured[study.id], slowest.get(study.backbone, 0.0))
    most = max(slowest.values(), default=1.0)
    return {of.id: measured.get(of.id, slowest.get(of.backbone, most)) for of in studies}
