"""The campaign as one Ray Tune run over all its studies.

Our searcher asks the campaign for trials, and our scheduler reports their epochs to it. So studies
share the cluster, no node waits at a study's end, and workers are reused. Ray Tune decides nothing:

- Results come only from the scheduler's hook.
- A restarted trial is a new trial for Tune.
- Tune's own files are in a scratch folder that is deleted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune import Callback, FailureConfig, RunConfig, Stopper, TuneConfig, Tuner
from ray.tune.execution.placement_groups import PlacementGroupFactory
from ray.tune.experiment import Trial as RayTrial

from pcsearch.execution.tune_adapter import (
    CampaignScheduler,
    CampaignSearcher,
    NotStored,
    RunningTrials,
    Waiting,
)
from pcsearch.execution.tune_patches import NoProgress, ready_workers, without_credentials
from pcsearch.execution.worker import train_trial
from pcsearch.execution.worker_health import Watchdog
from pcsearch.runs.shutdown import Ending
from pcsearch.search.campaign import Campaign
from pcsearch.storage.scratch import scratch_folder


class _EachStep(NotStored, Callback):  # type: ignore[misc]
    """Runs once per loop, about ten times a second: repaints, and checks the workers."""

    def __init__(
        self,
        tick: Callable[[int], None],
        stopping: Callable[[], None],
        searcher: CampaignSearcher,
        watchdog: Watchdog,
        ending: Ending,
        *,
        one_machine: bool,
    ) -> None:
        self._tick = tick
        self._stopping = stopping
        self._told = False
        self._searcher = searcher
        self._watchdog = watchdog
        self._ending = ending
        self._waiting = Waiting()
        self._one_machine = one_machine

    def on_step_end(self, iteration: int, trials: list[RayTrial], **info: Any) -> None:
        ended = (RayTrial.TERMINATED, RayTrial.ERROR)
        # If a worker cannot be reset for its next trial, Tune ends that trial without a hook.
        dropped = [trial.trial_id for trial in trials if trial.status in ended]
        self._searcher.lost(dropped, "its worker could not be made ready")
        self._watchdog.look(trials)
        waiting = 0 if self._one_machine else self._waiting.look(trials)
        with self._ending.guard():
            if self._ending.requested and self._ending.error is None and not self._told:
                self._told = True
                self._stopping()
            self._tick(waiting)


class _Interrupt(NotStored, Stopper):  # type: ignore[misc]
    """Ends an interrupted run when every trial is safe, or its time is over."""

    def __init__(self, ending: Ending, runs: RunningTrials, watchdog: Watchdog) -> None:
        self._ending = ending
        self._runs = runs
        self._watchdog = watchdog

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        if not self._ending.requested:
            return False
        if self._runs.ids <= self._runs.safe:
            return True
        if self._ending.timed_out:
            self._watchdog.end(self._runs.ids - self._runs.safe)
            return True
        return False


def run_campaign(
    campaign: Campaign,
    context: dict[str, Any],
    ending: Ending,
    *,
    cpus_per_trial: float,
    gpus_per_trial: float,
    one_machine: bool,
    tick: Callable[[int], None],
    stopping: Callable[[], None] = lambda: None,
    trial: Callable[[dict[str, Any], dict[str, Any]], None] = train_trial,
) -> bool:
    """Run trials until the campaign is done; False if Ctrl-C ended it first.

    Args:
        campaign: Decides. Its width is the number of trials at once.
        context: The fields of `WorkerContext`.
        ending: Whether and how it ends early.
        cpus_per_trial: CPUs reserved for each trial.
        gpus_per_trial: GPUs (or the fraction of one) reserved for each trial.
        one_machine: Whether Ray was started here, for this machine alone.
        tick: Called about ten times a second with the number of trials that wait for a node.
        stopping: Called once, when the end is requested.
        trial: The function that a worker runs for a trial, from a module that it can import. It
            reports to Tune like `train_trial`.

    Raises:
        OSError: the journal cannot be written; it is complete up to there.
    """
    bundle = {"CPU": cpus_per_trial} | ({"GPU": gpus_per_trial} if gpus_per_trial else {})
    trainable = tune.with_resources(
        tune.with_parameters(trial, context=context), PlacementGroupFactory([bundle])
    )
    runs = RunningTrials()
    watchdog = Watchdog(campaign, runs.trial, decodes=not one_machine)
    searcher = CampaignSearcher(campaign, runs, ending)
    scheduler = CampaignScheduler(campaign, runs, ending, watchdog, one_machine=one_machine)
    each_step = _EachStep(tick, stopping, searcher, watchdog, ending, one_machine=one_machine)
    temporary = Path(tempfile.gettempdir())
    with scratch_folder(temporary, "pcsearch-tune-") as scratch, ending.on_ctrl_c():
        tuner = Tuner(
            trainable,
            tune_config=_tune_config(campaign.max_concurrent, searcher, scheduler),
            run_config=RunConfig(
                name="campaign",
                storage_path=str(scratch),
                stop=_Interrupt(ending, runs, watchdog),
                verbose=0,
                failure_config=FailureConfig(max_failures=0),
                callbacks=[each_step, NoProgress()],
            ),
        )
        with ready_workers() if one_machine else without_credentials():
            tuner.fit()
    if ending.error is not None:
        raise ending.error
    return campaign.done


def _tune_config(
    max_concurrent: int, searcher: CampaignSearcher, scheduler: CampaignScheduler
) -> TuneConfig:
    return TuneConfig(
        search_alg=searcher,
        scheduler=scheduler,
        num_samples=-1,
        # So many trials may wait: Tune requests room for all at once, and an autoscaler starts
        # their nodes in parallel. Without this, it requests one at a time.
        max_concurrent_trials=max_concurrent,
        reuse_actors=True,
        trial_dirname_creator=lambda trial: str(trial.trial_id),
    )
