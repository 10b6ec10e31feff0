"""The budget: the work that is certain to come, in seconds, and the cost of nodes, in money.

It closes the search phase early enough that finalists and confirm still fit. It also gives the
remaining time on the screen.

A cluster's cost depends on how long its nodes stay, not on how much they train. A single trial
keeps a node, and a node without trials stays until it has been idle long enough. So a search trial
is asked if the budget then pays for all nodes until the campaign's end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pcsearch.search.plan import ArmPlan, StudyPlan
from pcsearch.search.selection import candidates
from pcsearch.search.state import CampaignState

SLACK = 1.1
"""Factor on the time of epochs, for starting workers, evaluation and uneven ends."""


def seconds_per_image(state: CampaignState) -> dict[str, float]:
    """Measured seconds per image and epoch of the control, by study.

    Studies without epochs are absent. Images of an arm count with its cost (`ArmPlan.cost`).
    """
    return {
        study: trained.seconds / trained.images
        for study, trained in state.trained.items()
        if trained.images
    }


def committed_seconds(state: CampaignState, max_concurrent: int) -> float | None:
    """Wall seconds of the work that follows even without further search trials.

    Running trials count to their full budget. Trials cannot be divided, and an arm's confirm trials
    wait for its finalists. So this is the larger of two times: all work, shared by `max_concurrent`
    slots, and the longest chain of one arm. None while nothing has been measured.
    """
    if not seconds_per_image(state):
        return None
    total = longest = 0.0
    for rate, work in certain(state):
        total += rate * work.images
        longest = max(longest, rate * work.chain(max(1, max_concurrent)))
    return SLACK * max(total / max(1, max_concurrent), longest)


def certain(state: CampaignState) -> Iterator[tuple[float, RemainingWork]]:
    """Every arm's certain work, with the seconds per image of its study.

    An unmeasured study counts as slow as the slowest; 0 if none was measured.
    """
    rates = seconds_per_image(state)
    fallback = max(rates.values(), default=0.0)
    for study in state.plan.studies:
        for arm in study.arms:
            yield rates.get(study.id, fallback), _committed(state, study, arm)


def time_is_up(
    state: CampaignState, study: StudyPlan, arm: ArmPlan, max_concurrent: int, now: float
) -> bool:
    """Whether another search trial of an arm would exceed the budget in time.

    Args:
        state: The campaign.
        study: The study of the next trial.
        arm: Its arm.
        max_concurrent: Trials at once.
        now: The campaign's age in seconds.
    """
    budget = state.plan.budget_seconds
    committed = None if budget is None else committed_seconds(state, max_concurrent)
    if budget is None or committed is None:
        return False
    return now + committed + full_trial_seconds(state, study, arm) / max_concurrent > budget


def full_trial_seconds(state: CampaignState, study: StudyPlan, arm: ArmPlan) -> float:
    """Seconds of an arm's fully trained search trial; 0 while nothing has been measured."""
    rates = seconds_per_image(state)
    rate = rates.get(study.id, max(rates.values(), default=0.0))
    return SLACK * rate * study.images.fit * state.plan.full_cost(arm, "search")


@dataclass(frozen=True)
class RemainingWork:
    """An arm's certain trials by phase, and the images that each trains on in all its epochs.

    Images count with the arm's cost.
    """

    running: tuple[tuple[float, int], ...]
    """Images left to train on, and the number of running trials with so many left."""
    search: int
    finalists: int
    confirm: int
    search_images: float
    confirm_images: float

    @property
    def images(self) -> float:
        retrained = self.search + self.finalists
        own = retrained * self.search_images + self.confirm * self.confirm_images
        return self.running_images + own

    @property
    def running_images(self) -> float:
        """Images of the running trials to their full budget."""
        return sum(images * trials for images, trials in self.running)

    @property
    def longest_running(self) -> float:
        return max((images for images, _ in self.running), default=0)

    def chain(self, max_concurrent: int) -> float:
        """Images along the arm's longest chain of trials that wait for each other."""
        first = max(self.longest_running, self.search * self.search_images)
        return first + self.later(max_concurrent)

    def later(self, max_concurrent: int) -> float:
        """The part of this chain after the search."""
        finalists = math.ceil(self.finalists / max_concurrent) * self.search_images
        return finalists + math.ceil(self.confirm / max_concurrent) * self.confirm_images


def _committed(state: CampaignState, study: StudyPlan, arm: ArmPlan) -> RemainingWork:
    done = state.arms[study.id, arm.name]
    running = tuple(
        (study.images.of(phase) * arm.cost * left, trials)
        for (phase, left), trials in done.epochs_left.items()
    )
    undecided = done.choice is None and done.given_up is None
    confirm = max(0, state.wanted_seeds(study.id) - len(done.trials["confirm"]))
    return RemainingWork(
        running=running,
        # Every arm gets its first trial, even beyond the budget.
        search=int(undecided and arm.borrows is None and not done.trials["search"]),
        finalists=_waiting_finalists(state, study, arm) if undecided else 0,
        confirm=0 if done.given_up else confirm,
        search_images=study.images.fit * state.plan.full_cost(arm, "search"),
        confirm_images=study.images.train * state.plan.full_cost(arm, "confirm"),
    )


def _waiting_finalists(state: CampaignState, study: StudyPlan, arm: ArmPlan) -> int:
    """Finalist trials that an arm still needs: at most, and exactly once all arms have searched."""
    plan = state.plan
    if arm.borrows is not None or not (plan.finalist_configs and plan.finalist_repeats):
        return 0
    pool, searching = 0, False
    for other in study.arms:
        done = state.arms[study.id, other.name]
        over = state.search_closed is not None or len(done.trials["search"]) >= other.trials
        searching |= done.given_up is None and (not over or done.running("search") > 0)
        eligible = done.complete + done.running("search") if over else other.trials
        pool += min(plan.finalist_configs, eligible)
    if searching:  # in a widened run, every finalist may be a new configuration
        return pool * plan.finalist_repeats
    return sum(
        max(0, plan.finalist_repeats - len(one.repeats)) for one in candidates(state, study, arm)
    )


IDLE_SECONDS = 300.0
"""How long a node without trials is assumed to stay: the default of clusters. A campaign does not
know its own cluster's setting."""


def admit_trial(
    state: CampaignState, study: StudyPlan, arm: ArmPlan, max_concurrent: int, now: float
) -> Literal["ask", "wait", "close"]:
    """Whether another search trial of an arm is asked, waits, or ends the search.

    A trial without a free slot needs a further node. It waits while nothing has been measured, or
    the budget does not pay for the node: a started node cannot be taken back. If a slot is free, or
    no trial runs, a trial beyond the budget ends the search.

    Args:
        state: The campaign.
        study: The study of the next trial.
        arm: Its arm.
        max_concurrent: Trials at once.
        now: The campaign's age in seconds.
    """
    budget, price = state.plan.budget_cost, state.plan.price_per_node_hour
    if budget is None or price is None:
        return "ask"
    per_node = _per_node(state, max_concurrent)
    waits = bool(state.running) and len(state.running) >= state.nodes * per_node
    if not seconds_per_image(state):
        return "wait" if waits else "ask"
    spent = state.node_seconds + state.nodes * max(0.0, now - state.seconds)
    if (spent + _rest(state, study, arm, max_concurrent)) * price / 3600 <= budget:
        return "ask"
    return "wait" if waits else "close"


def _per_node(state: CampaignState, max_concurrent: int) -> int:
    return max(1, int(state.slots_per_node or max_concurrent))


def _rest(state: CampaignState, study: StudyPlan, arm: ArmPlan, max_concurrent: int) -> float:
    """Node-seconds until the campaign's end, if another search trial of an arm is its last.

    The running trials and this one are assumed to hold the most nodes: each node has one of the
    longest, trained fully. The later work costs the smaller of two upper bounds:

    - all nodes until the end of the longest chain of trials that wait for each other;
    - the slots that it fills, plus the idle time of each node before it goes.
    """
    per_node = _per_node(state, max_concurrent)
    running = [(full_trial_seconds(state, study, arm), 1)]
    later = later_work = 0.0
    finalists = confirm = 0
    for rate, work in certain(state):
        rate *= SLACK
        running += [(rate * images, trials) for images, trials in work.running]
        first = work.search * work.search_images
        later = max(later, rate * (first + work.later(max(1, max_concurrent))))
        later_work += rate * (work.images - work.running_images) / per_node
        finalists, confirm = finalists + work.finalists, confirm + work.confirm
    there = max(state.nodes, math.ceil((len(state.running) + 1) / per_node))
    nodes = max(there, math.ceil(min(max_concurrent, max(finalists, confirm)) / per_node))
    filled = max(later, later_work) + nodes * min(IDLE_SECONDS, later)
    return _longest(running, there) + min(max(nodes * later, later_work), filled)


def _longest(running: list[tuple[float, int]], count: int) -> float:
    """Seconds of the `count` longest trials; `running` holds (seconds, number of trials)."""
    total = 0.0
    for seconds, trials in sorted(running, reverse=True):
        taken = min(trials, count)
        total, count = total + taken * seconds, count - taken
    return total
