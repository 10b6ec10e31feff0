"""Whether clipped gradients have decided an arm's step size in place of its learning rate."""

from __future__ import annotations

from collections.abc import Iterator

from pcsearch.results import formatting as fmt
from pcsearch.results.objects import StudySummary
from pcsearch.search.arm_state import ArmState
from pcsearch.search.plan import StudyPlan
from pcsearch.search.state import CampaignState

MOST_CLIPPED = 50.0
"""Percent of an arm's updates; beyond, most of its steps are shorter than its recipe says."""

MOST_APART = 20.0
"""Percentage points between two arms; beyond, they do not step alike."""


def clipping(study: StudySummary, plan: StudyPlan, state: CampaignState) -> Iterator[str]:
    """A note where the chosen configurations were trained with many clipped gradients."""
    found = {arm.name: clipped_percent(state.arms[plan.id, arm.name]) for arm in plan.arms}
    shares = {name: share for name, share in found.items() if share is not None}
    if not shares:
        return
    differ = max(shares.values()) - min(shares.values()) > MOST_APART
    if max(shares.values()) <= MOST_CLIPPED and not differ:
        return
    each = ", ".join(f"{fmt.label(name)} {share:.0f} %" for name, share in shares.items())
    line = (
        f"Confirm updates whose gradient was clipped (train.clip_norm): {each}. Such a step is "
        "shorter than search.lr says."
    )
    if differ:
        line += " The arms differ in this, so it may be part of what a gain shows."
    yield f"{line} Raise train.clip_norm, or leave it out."


def clipped_percent(arm: ArmState) -> float | None:
    """Of the updates of an arm's confirm trials that ran to their end; None where not counted.

    A trial's epochs have the same number of updates, so the mean of their shares is the share.
    """
    shares = [
        share
        for trial in arm.trials["confirm"]
        if trial.state == "COMPLETE" and trial.comparable
        for epoch in trial.epochs
        if (share := epoch.metrics.get("clipped")) is not None
    ]
    return sum(shares) / len(shares) if shares else None
