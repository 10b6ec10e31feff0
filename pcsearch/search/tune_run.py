"""The campaign as one Ray Tune run over all its studies.

A searcher of ours asks the campaign for trials and a scheduler of ours hands it their epochs; so
studies share the cluster, no node waits at a study's end and workers are reused. Ray Tune runs
things and decides nothing: results are taken from the scheduler's hook alone, a trial that is begun
again is a new one to Tune, and Tune's own files lie in a scratch folder that is thrown away.
"""

from __future__ import annotations

import contextlib
import json
import logging
import tempfile
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ray import tune
from ray.tune import Callback, FailureConfig, RunConfig, Stopper, TuneConfig, Tuner
from ray.tune.execution.placement_groups import PlacementGroupFactory
from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from pcsearch.search.campaign import Campaign
from pcsearch.search.ended_trials import NoProgress, forget_ended
from pcsearch.search.ending import Ending
from pcsearch.search.losses import error_of, loss_of
from pcsearch.search.one_machine import ready_workers
from pcsearch.search.trainable import FAILURE, REPORT, train_trial
from pcsearch.search.watchdog import Watchdog

_log = logging.getLogger(__name__)


class _NotStored:
    """Tune pickles what it is given so as to restore it later; we never do, so nothing is kept."""

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return (object, ())


class Runs:
    """Which of Tune's trials trains which of the campaign's, while it does."""

    def __init__(self) -> None:
        self._open: dict[str, str] = {}
        self.safe: set[str] = set()
        """Trials that have written down all they trained since the campaign was told to end."""

    @property
    def ids(self) -> set[str]:
        return set(self._open)

    def begin(self, tune_id: str, trial: str) -> None:
        self._open[tune_id] = trial

    def trial(self, tune_id: str) -> str | None:
        return self._open.get(tune_id)

    def end(self, tune_id: str) -> str | None:
        """The trial, once: None if it had ended already as the campaign decided."""
        return self._open.pop(tune_id, None)


class CampaignSearcher(_NotStored, Searcher):  # type: ignore[misc]
    """Hands the campaign's trials to Tune, and the ends that Tune alone sees to the campaign."""

    def __init__(self, campaign: Campaign, runs: Runs, ending: Ending) -> None:
        super().__init__()
        self._campaign = campaign
        self._runs = runs
        self._ending = ending

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        return True

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        return True  # the campaign's width is Tune's own; no limiter around this searcher

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        spec, done = None, False
        if not self._ending.begun:
            with self._ending.guard():
                spec, done = self._campaign.next_trial(), self._campaign.done
        if spec is None:
            # None while nothing runs would make Tune sleep for minutes, deaf to everything
            done = done or (self._ending.begun and not self._runs.ids)
            return Searcher.FINISHED if done else None
        self._runs.begin(trial_id, spec.trial)
        trial = self._campaign.state.trials[spec.trial]
        return {
            "spec": json.dumps(vars(spec)),
            "attempt": trial.attempt,
            "micro_batches": trial.micro_batches,
        }

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        # What ended as the campaign decided, or with an error, is no longer among the open ones.
        self.lost([trial_id], "its worker ended before its last epoch")

    def lost(self, trial_ids: Iterable[str], reason: str) -> None:
        """Tell the campaign of trials that Tune has ended without any decision of ours."""
        for trial_id in trial_ids:
            trial = self._runs.end(trial_id)
            if trial is not None and not self._ending.begun:
                with self._ending.guard():
                    self._campaign.lost(trial, reason, "worker")

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the only record."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing, either."""

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a campaign goes on from its journal, never from Tune's files")


class CampaignScheduler(_NotStored, FIFOScheduler):  # type: ignore[misc]
    """Passes each epoch on to the campaign and stops the trial when it says so."""

    def __init__(
        self,
        campaign: Campaign,
        runs: Runs,
        ending: Ending,
        watchdog: Watchdog,
        *,
        one_machine: bool,
    ) -> None:
        super().__init__()
        self._campaign = campaign
        self._runs = runs
        self._ending = ending
        self._watchdog = watchdog
        self._one_machine = one_machine

    def on_trial_add(self, tune_controller: object, trial: RayTrial) -> None:
        forget_ended(tune_controller)

    def on_trial_result(
        self, tune_controller: object, trial: RayTrial, result: Mapping[str, Any]
    ) -> str:
        name = self._runs.trial(trial.trial_id)
        if name is None:
            return str(self.STOP)
        if "trial" not in result:  # Tune's closing result repeats the last one without our keys
            return str(self.CONTINUE)
        self._watchdog.reported(trial.trial_id)
        goes_on = False
        with self._ending.guard():
            goes_on = self._taken(name, trial.trial_id, result)
        if not goes_on:
            self._runs.end(trial.trial_id)
        return str(self.CONTINUE if goes_on else self.STOP)

    def _taken(self, name: str, trial_id: str, result: Mapping[str, Any]) -> bool:
        if FAILURE in result:
            if result.get("memory"):
                self._campaign.lost(name, result[FAILURE], "memory")
            else:
                self._campaign.fail(name, result[FAILURE])
            return False
        report = json.loads(result[REPORT])
        saved = report.pop("saved", False)
        failed = report.pop("checkpoint_error", None)
        if failed is not None:  # training goes on; this goes to driver.log, if there is room for it
            _log.warning("%s, epoch %d: %s", name, report["epoch"], failed)
        goes_on = self._campaign.report(name, **report, attempt=result["attempt"])
        if self._ending.begun and saved:
            self._runs.safe.add(trial_id)
        return goes_on

    def on_trial_error(self, tune_controller: object, trial: RayTrial) -> None:
        name = self._runs.end(trial.trial_id)
        if name is None or self._ending.begun:
            return
        hung = self._watchdog.hung.get(trial.trial_id)
        reason, kind = hung or loss_of(
            error_of(trial.pickled_error_file), one_machine=self._one_machine
        )
        with self._ending.guard():
            self._campaign.lost(name, reason, kind)


class _EachStep(_NotStored, Callback):  # type: ignore[misc]
    """Runs once a loop, about ten times a second: repaints, and looks after the workers."""

    def __init__(
        self,
        tick: Callable[[], None],
        searcher: CampaignSearcher,
        watchdog: Watchdog,
        ending: Ending,
    ) -> None:
        self._tick = tick
        self._searcher = searcher
        self._watchdog = watchdog
        self._ending = ending

    def on_step_end(self, iteration: int, trials: list[RayTrial], **info: Any) -> None:
        ended = (RayTrial.TERMINATED, RayTrial.ERROR)
        # A worker that cannot be reset for its next trial ends that trial without any hook.
        dropped = [trial.trial_id for trial in trials if trial.status in ended]
        self._searcher.lost(dropped, "its worker could not be made ready")
        self._watchdog.look(trials)
        with self._ending.guard():
            self._tick()


class _Interrupt(_NotStored, Stopper):  # type: ignore[misc]
    """Ends the run when it is to end and every trial is safe, or has had its time."""

    def __init__(self, ending: Ending, runs: Runs, watchdog: Watchdog) -> None:
        self._ending = ending
        self._runs = runs
        self._watchdog = watchdog

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        if not self._ending.begun:
            return False
        if self._runs.ids <= self._runs.safe:
            return True
        if self._ending.overdue:
            self._watchdog.end(self._runs.ids - self._runs.safe)
            return True
        return False


def run_campaign(
    campaign: Campaign,
    workplace: dict[str, Any],
    ending: Ending,
    *,
    cpus_per_trial: float,
    gpus_per_trial: float,
    one_machine: bool,
    tick: Callable[[], None],
) -> bool:
    """Run trials until the campaign is done; False when Ctrl-C ended it before that.

    Args:
        campaign: What decides; its width is how many trials run at once.
        workplace: The fields of `Workplace`.
        ending: How it may end early.
        cpus_per_trial: CPUs reserved for each trial.
        gpus_per_trial: GPUs (or the fraction of one) reserved for each trial.
        one_machine: Whether Ray was started here, for this machine alone.
        tick: Called about ten times a second.

    Raises:
        OSError: the journal cannot be written; what it holds is whole.
    """
    bundle = {"CPU": cpus_per_trial} | ({"GPU": gpus_per_trial} if gpus_per_trial else {})
    trainable = tune.with_resources(
        tune.with_parameters(train_trial, workplace=workplace), PlacementGroupFactory([bundle])
    )
    runs = Runs()
    watchdog = Watchdog(campaign, runs.trial)
    searcher = CampaignSearcher(campaign, runs, ending)
    with tempfile.TemporaryDirectory(prefix="pcsearch-tune-") as scratch, ending.on_ctrl_c():
        tuner = Tuner(
            trainable,
            tune_config=TuneConfig(
                search_alg=searcher,
                scheduler=CampaignScheduler(
                    campaign, runs, ending, watchdog, one_machine=one_machine
                ),
                num_samples=-1,
                max_concurrent_trials=campaign.width,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: str(trial.trial_id),
            ),
            run_config=RunConfig(
                name="campaign",
                storage_path=scratch,
                stop=_Interrupt(ending, runs, watchdog),
                verbose=0,
                failure_config=FailureConfig(max_failures=0),
                callbacks=[_EachStep(tick, searcher, watchdog, ending), NoProgress()],
            ),
        )
        with ready_workers() if one_machine else contextlib.nullcontext():
            tuner.fit()
    if ending.error is not None:
        raise ending.error
    return campaign.done
