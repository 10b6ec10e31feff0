"""The budget in money: how many nodes it pays for, and when it leaves no room to search on.

What a cluster costs depends on how long its nodes stay, not on how much they train: a node may stay
for a single trial, and one without any until it has been idle long enough to go. So a search trial
is asked if all nodes that there then are can be paid for until the campaign's end.
"""

from __future__ import annotations

import math
from typing import Literal

from pcsearch.search.budget import SLACK, certain, full_trial_seconds, seconds_per_image
from pcsearch.search.plan import StudyPlan
from pcsearch.search.state import CampaignState

IDLE_SECONDS = 300.0
"""How long a node without trials is taken to stay: what clusters do by default. A campaign is not
told what its own cluster does."""


def answer(
    state: CampaignState, study: StudyPlan, width: int, now: float
) -> Literal["ask", "wait", "close"]:
    """Whether another search trial of a study is asked, or waits, or the search ends.

    One that would need a further node waits while that is not paid for, and while nothing has been
    measured: what started then could not be taken back. One that has a place, or for which nothing
    is waited for, ends the search where it is not paid for.

    Args:
        state: The campaign.
        study: Whose trial would be next.
        width: Trials at once.
        now: The campaign's age in seconds.
    """
    budget, price = state.plan.budget_cost, state.plan.price_per_node_hour
    if budget is None or price is None:
        return "ask"
    per_node = _per_node(state, width)
    waits = bool(state.live) and len(state.live) >= state.nodes * per_node
    if not seconds_per_image(state):
        return "wait" if waits else "ask"
    spent = state.node_seconds + state.nodes * max(0.0, now - state.seconds)
    if (spent + _rest(state, study, width)) * price / 3600 <= budget:
        return "ask"
    return "wait" if waits else "close"


def _per_node(state: CampaignState, width: int) -> int:
    return max(1, int(state.slots_per_node or width))


def _rest(state: CampaignState, study: StudyPlan, width: int) -> float:
    """Seconds of nodes until the campaign's end, if another search trial of a study is its last.

    The trials that run, and this one, are taken to be spread so that they hold most: each node has
    one of the longest, trained fully. What follows costs no more than all nodes until the end of
    the longest line of trials that wait for each other. Nor does it cost more than the slots that
    it fills, and in addition the time that each node is idle before it goes.
    """
    per_node = _per_node(state, width)
    running = [(full_trial_seconds(state, study), 1)]
    later = later_work = 0.0
    finalists = confirm = 0
    for rate, work in certain(state):
        rate *= SLACK
        running += [(rate * images, trials) for images, trials in work.running]
        first = work.search * work.search_images
        later = max(later, rate * (first + work.later(max(1, width))))
        later_work += rate * (work.images - work.running_images) / per_node
        finalists, confirm = finalists + work.finalists, confirm + work.confirm
    there = max(state.nodes, math.ceil((len(state.live) + 1) / per_node))
    nodes = max(there, math.ceil(min(width, max(finalists, confirm)) / per_node))
    filled = max(later, later_work) + nodes * min(IDLE_SECONDS, later)
    return _longest(running, there) + min(max(nodes * later, later_work), filled)


def _longest(running: list[tuple[float, int]], count: int) -> float:
    """Seconds of so many of the longest trials, of which each length is given with its number."""
    total = 0.0
    for seconds, trials in sorted(running, reverse=True):
        taken = min(trials, count)
        total, count = total + taken * seconds, count - taken
    return total
