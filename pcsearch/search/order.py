"""Which study is next, where several have work: the one with the longest way to its end.

A study's finalists wait for its search and its confirm trials for its choice, so a long one that is
begun late ends alone, in a cluster that has nothing else to do. One that has a cluster to itself
decides as in a campaign of its own; the others fill the gaps that it leaves.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pcsearch.search import budget
from pcsearch.search.arm_state import ArmState
from pcsearch.search.plan import ArmPlan, Plan, StudyPlan
from pcsearch.search.state import CampaignState
from pcsearch.search.trial import Phase

Place = tuple[StudyPlan, ArmPlan, ArmState]

BEGUN = 1.25
"""How much longer another study's way must be before a search that is under way waits for it."""


@dataclass(frozen=True)
class Step:
    """A trial that a study asks for next."""

    phase: Phase
    place: Place

    @property
    def study(self) -> StudyPlan:
        return self.place[0]


NEARLY = 0.9
"""Of the longest way, what is near enough to prefer a study whose images are decoded there."""


def first(
    state: CampaignState,
    steps: Sequence[Step],
    decoded: Collection[str] = frozenset(),
    *,
    timed: bool = True,
) -> Step:
    """The step to take first, of one or none a study; of equals that of the plan's first.

    Where the ways of several studies are nearly as long, one of the `decoded` datasets goes first:
    the node that the trial will go to need not decode another's images before it trains.

    The first trial of every backbone comes before all else, for it tells how fast that trains. Then
    the longest way goes first.

    With a budget, which may close the search, search trials come first and go to the study whose
    search is the least far, so that all have their share.

    Unless `timed`, ways are counted in images alone: with one trial at a time nothing is to be
    packed, and what is next must not depend on how fast the machine was.
    """
    rates = _rates(state) if timed else dict.fromkeys((s.id for s in state.plan.studies), 1.0)
    shared = state.plan.budget_seconds is not None or state.plan.budget_cost is not None
    tried = {study.backbone for study in state.plan.studies if _begun(state, study)}

    def urgency(step: Step) -> tuple[int, float]:
        study, arm, done = step.place
        way = _images(state.plan, study, step.phase) * rates[study.id]
        if step.phase != "search":
            return 1, way
        if shared:
            return 2, -len(done.trials["search"]) / arm.trials
        if study.backbone not in tried:
            return 2, way
        return 1, way * (BEGUN if _begun(state, study) else 1.0)

    foremost = max(steps, key=urgency)
    kind, most = urgency(foremost)
    near = most if shared and kind == 2 else NEARLY * most
    warm = [step for step in steps if step.study.dataset in decoded]
    warm = [step for step in warm if urgency(step) >= (kind, near)]
    return foremost if foremost in warm or not warm else max(warm, key=urgency)


def _begun(state: CampaignState, study: StudyPlan) -> bool:
    return any(state.arms[study.id, arm.name].trials["search"] for arm in study.arms)


def _images(plan: Plan, study: StudyPlan, phase: Phase) -> int:
    """Images along a study's longest line of trials that wait for each other, from a phase on."""
    images = study.images.train * plan.confirm_epochs if plan.confirm_seeds else 0
    if phase == "confirm":
        return images
    if phase == "finalists" or (plan.finalist_configs and plan.finalist_repeats):
        images += study.images.fit * plan.max_epochs
    return images + (study.images.fit * plan.max_epochs if phase == "search" else 0)


def _rates(state: CampaignState) -> dict[str, float]:
    """Seconds an image, by study: measured, or the most of its backbone, or of any; or 1."""
    studies, measured = state.plan.studies, budget.seconds_per_image(state)
    slowest: dict[str, float] = {}
    for study in studies:
        if study.id in measured:
            slowest[study.backbone] = max(measured[study.id], slowest.get(study.backbone, 0.0))
    most = max(slowest.values(), default=1.0)
    return {of.id: measured.get(of.id, slowest.get(of.backbone, most)) for of in studies}
