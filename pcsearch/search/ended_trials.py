"""Lets Ray Tune forget trials that have ended: it would keep some 40 kB of each until the end."""

from __future__ import annotations

from typing import Any

from ray.tune.experiment import Trial as RayTrial
from ray.tune.progress_reporter import TrialProgressCallback

KEPT = 8
"""Ended trials that Tune may still hear of: what follows a trial's end, and the closing table."""


class NoProgress(TrialProgressCallback):  # type: ignore[misc]
    """Stands in for what Tune prints progress with, which keeps every trial; prints nothing."""

    def on_trial_complete(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any
    ) -> None: ...

    def log_result(self, trial: RayTrial, result: dict[str, Any], error: bool = False) -> None: ...


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
