"""Lets Ray Tune forget trials that have ended: it would keep some 40 kB of each until the end."""

from __future__ import annotations

from typing import Any

KEPT = 8
"""Ended trials that Tune may still hear of: what follows a trial's end, and the closing table."""


def forget_ended(wrapped: Any) -> None:
    """Drop all ended trials but the last few.

    The journal has what they measured. These are Tune's insides: where another version has others,
    everything is kept.

    Args:
        wrapped: Tune's controller, as a scheduler is given it.
    """
    controller: Any = getattr(wrapped, "_tune_controller", None)
    try:
        trials = controller.get_trials()
        metadata = controller._trial_metadata
        groups = (
            controller._stopped_trials,
            controller._failed_trials,
            controller._trials_to_cache,
        )
    except AttributeError:
        return
    ended = [trial for trial in trials if trial.is_finished()][:-KEPT]
    for trial in ended:
        trials.remove(trial)
        metadata.pop(trial.trial_id, None)
        for group in groups:
            group.discard(trial)
