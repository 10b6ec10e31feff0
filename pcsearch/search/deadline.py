"""How long a trial may go without an epoch before its worker counts as hung."""

from __future__ import annotations

from pcsearch.search.state import CampaignState
from pcsearch.search.trial import Trial

TIMES = 10.0
"""So many times the longest epoch measured in the study."""

LEAST_SECONDS = 30.0
"""However short epochs are: a machine may be busy for that long."""

START_SECONDS = 60.0
"""More for the first epoch of an attempt, which opens images and loads weights."""

UNMEASURED_SECONDS = 3600.0
"""While no epoch of the study has ended."""


def deadline_seconds(state: CampaignState, trial: Trial, *, first: bool) -> float:
    """Seconds within which a trial's next epoch is to be reported.

    Epochs of confirm train on more images than those of the search, so the longest time an image
    is what counts.

    Args:
        state: What has been measured so far.
        trial: The trial that trains.
        first: Whether its worker has not reported yet in this attempt.
    """
    slowest = state.trained[trial.spec.study].slowest
    if slowest is None:
        return UNMEASURED_SECONDS
    longest = slowest * state.plan.study(trial.spec.study).images.of(trial.spec.phase)
    return max(LEAST_SECONDS, TIMES * longest) + (START_SECONDS if first else 0.0)
