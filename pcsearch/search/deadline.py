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

DECODE_SECONDS = 0.1
"""More for every image that the worker's node may have to decode first; a big photograph takes as
long on one core."""

UNMEASURED_SECONDS = 3600.0
"""While no epoch of the study has ended; nothing takes longer for other reasons either."""


def deadline_seconds(
    state: CampaignState, trial: Trial, *, first: bool, decodes: bool = False
) -> float:
    """Seconds within which a trial's next epoch is to be reported.

    Epochs of confirm train on more images than those of the search, so the longest time an image
    is what counts.

    Args:
        state: What has been measured so far.
        trial: The trial that trains.
        first: Whether its worker has not reported yet in this attempt.
        decodes: Whether workers may be on nodes that have not decoded the images yet: the training
            images then come before the first epoch, the test images with confirm's last one.
    """
    slowest = state.trained[trial.spec.study].slowest
    if slowest is None:
        return UNMEASURED_SECONDS
    images = state.plan.study(trial.spec.study).images
    limit = max(LEAST_SECONDS, TIMES * slowest * images.of(trial.spec.phase))
    if first:
        limit += START_SECONDS
    if not decodes:
        return limit
    to_decode = images.train if first else 0
    if trial.spec.phase == "confirm" and trial.epochs_left == 1:
        to_decode += images.test
    return max(limit, min(UNMEASURED_SECONDS, limit + DECODE_SECONDS * to_decode))
