"""How much work is still certain to come, in seconds of wall time.

Used to close the search phase early enough that finalists and confirm still fit the budget, and
for the remaining time on the screen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pcsearch.search.arm_state import ArmState
from pcsearch.search.plan import ArmPlan, Plan, StudyPlan
from pcsearch.search.state import CampaignState

SLACK = 1.1
"""Starting workers, evaluating and uneven ends cost more than the epochs alone."""


def seconds_per_image(state: CampaignState) -> dict[str, float]:
    """Measured training seconds an image and epoch, by study; studies without epochs are absent."""
    return {
        study: trained.seconds / trained.images
        for study, trained in state.trained.items()
        if trained.images
    }


def committed_seconds(state: CampaignState, width: int) -> float | None:
    """Wall seconds of the work that follows even if no further search trial is asked.

    Running trials are counted to their full budget. Trials cannot be cut up, and an arm's
    finalists and confirm trials follow each other, so this is the larger of all work shared by
    `width` slots and the longest chain of one arm. None while nothing has been measured.
    """
    rates = seconds_per_image(state)
    if not rates:
        return None
    fallback = max(rates.values())
    total = longest = 0.0
    for study in state.plan.studies:
        rate = rates.get(study.id, fallback)
        for arm in study.arms:
            work = _committed(state, study, arm)
            total += rate * work.images
            longest = max(longest, rate * work.chain(max(1, width)))
    return SLACK * max(total / max(1, width), longest)


def exceeded(
    state: CampaignState, study: StudyPlan, width: int, now: float
) -> Literal["time", "cost"] | None:
    """The budget that another search trial of a study would exceed, if there is one.

    A budget in money counts the time of all nodes until now, and for the rest that what is certain
    to come fills them.

    Args:
        state: The campaign.
        study: Whose trial would be next.
        width: Trials at once.
        now: The campaign's age in seconds.
    """
    plan = state.plan
    if plan.budget_seconds is not None:
        committed = committed_seconds(state, width)
        one_more = full_trial_seconds(state, study) / width
        if committed is not None and now + committed + one_more > plan.budget_seconds:
            return "time"
    if plan.budget_cost is not None and plan.price_per_node_hour is not None:
        per_node = max(1, int(state.slots_per_node or width))
        committed = committed_seconds(state, per_node)
        one_more = full_trial_seconds(state, study) / per_node
        spent = state.node_seconds + state.nodes * max(0.0, now - state.seconds)
        if committed is not None:
            cost = (spent + committed + one_more) * plan.price_per_node_hour / 3600
            return "cost" if cost > plan.budget_cost else None
    return None


def full_trial_seconds(state: CampaignState, study: StudyPlan) -> float:
    """Seconds of one fully trained search trial of a study, 0 while nothing has been measured."""
    rates = seconds_per_image(state)
    rate = rates.get(study.id, max(rates.values(), default=0.0))
    return SLACK * rate * study.images.fit * state.plan.max_epochs


@dataclass(frozen=True)
class _Work:
    """An arm's certain trials, by phase: how many, and the images that one trains on in all."""

    running: tuple[tuple[int, int], ...]
    """Images still to train on, and how many trials have so many."""
    search: int
    finalists: int
    confirm: int
    search_images: int
    confirm_images: int

    @property
    def images(self) -> int:
        retrained = self.search + self.finalists
        own = retrained * self.search_images + self.confirm * self.confirm_images
        return sum(images * trials for images, trials in self.running) + own

    def chain(self, width: int) -> int:
        """Images along the arm's longest line of trials that wait for each other."""
        running = (images for images, _ in self.running)
        first = max((*running, self.search * self.search_images))
        finalists = math.ceil(self.finalists / width) * self.search_images
        return first + finalists + math.ceil(self.confirm / width) * self.confirm_images


def _committed(state: CampaignState, study: StudyPlan, arm: ArmPlan) -> _Work:
    plan, done = state.plan, state.arms[study.id, arm.name]
    running = tuple(
        (study.images.of(phase) * left, trials)
        for (phase, left), trials in done.epochs_left.items()
    )
    over = state.search_closed is not None or len(done.trials["search"]) >= arm.trials
    undecided = done.choice is None and done.given_up is None
    confirm = len(plan.confirm_seeds) - len(done.trials["confirm"])
    return _Work(
        running=running,
        # An arm that has not begun still gets one trial, whatever the budget.
        search=int(undecided and arm.borrows is None and not done.trials["search"]),
        finalists=_waiting_finalists(plan, arm, done, over) if undecided else 0,
        confirm=0 if done.given_up else confirm,
        search_images=study.images.fit * plan.max_epochs,
        confirm_images=study.images.train * plan.confirm_epochs,
    )


def _waiting_finalists(plan: Plan, arm: ArmPlan, done: ArmState, search_over: bool) -> int:
    """Finalist trials still to be asked, if every search trial that may be trained fully is."""
    eligible = done.complete + done.running("search") if search_over else arm.trials
    configs = 0 if arm.borrows else min(plan.finalist_configs, eligible)
    return max(0, configs * plan.finalist_repeats - len(done.trials["finalists"]))
