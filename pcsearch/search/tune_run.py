"""The campaign as one Ray Tune run over all its studies.

A searcher of ours asks the campaign for trials and a scheduler of ours hands it their epochs; so
studies share the cluster, no node waits at a study's end and workers are reused. Ray Tune runs
things and decides nothing: results are taken from the scheduler's hook alone and ends from the
searcher's alone, and its own files lie in a scratch folder that is thrown away.
"""

from __future__ import annotations

import contextlib
import json
import signal
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FrameType
from typing import Any

from ray import tune
from ray.tune import Callback, FailureConfig, RunConfig, Stopper, TuneConfig, Tuner
from ray.tune.execution.placement_groups import PlacementGroupFactory
from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from pcsearch.search.campaign import Campaign
from pcsearch.search.one_machine import ready_workers
from pcsearch.search.trainable import FAILURE, REPORT, train_trial

WORKER_RETRIES = 2
"""How often a trial whose worker died is started again from its last checkpoint."""


class _NotStored:
    """Tune pickles what it is given so as to restore it later; we never do, so nothing is kept."""

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return (object, ())


class CampaignSearcher(_NotStored, Searcher):  # type: ignore[misc]
    """Hands the campaign's trials to Tune, and the ends that Tune alone sees to the campaign."""

    def __init__(self, campaign: Campaign) -> None:
        super().__init__()
        self._campaign = campaign
        self._names: dict[str, str] = {}
        self._ids: dict[str, str] = {}

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        return True

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        return True  # the campaign's width is Tune's own; no limiter around this searcher

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        spec = self._campaign.next_trial()
        if spec is not None:
            self._names[trial_id] = spec.trial
            self._ids[spec.trial] = trial_id
            return {"spec": json.dumps(vars(spec))}
        return Searcher.FINISHED if self._campaign.done else None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        # A trial that ended as the campaign decided is no longer running there: then nothing
        # happens here. What is left are workers that died once too often.
        reason = "its worker died" if error else "its worker ended before its last epoch"
        self._campaign.fail(self._names[trial_id], f"{reason}; Ray's logs say more")

    def reconcile(self, ended: Iterable[str]) -> None:
        """Fail what the campaign believes to be running, but Tune has ended."""
        live = {self._ids[name]: name for name in self._campaign.state.live}
        for trial_id in live.keys() & set(ended):
            self._campaign.fail(live[trial_id], "its worker could not be made ready")

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the only record."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing, either."""

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a campaign goes on from its journal, never from Tune's files")


class CampaignScheduler(_NotStored, FIFOScheduler):  # type: ignore[misc]
    """Passes each epoch on to the campaign and stops the trial when it says so."""

    def __init__(self, campaign: Campaign) -> None:
        super().__init__()
        self._campaign = campaign

    def on_trial_result(
        self, tune_controller: object, trial: RayTrial, result: Mapping[str, Any]
    ) -> str:
        name = result.get("trial")
        if name is None:  # Tune's own closing result repeats the last one without our keys
            return str(self.CONTINUE)
        if FAILURE in result:
            self._campaign.fail(name, result[FAILURE])
            return str(self.STOP)
        report = json.loads(result[REPORT])
        report.pop("replayed")
        goes_on = self._campaign.report(name, **report)
        return str(self.CONTINUE if goes_on else self.STOP)


class _Ticker(_NotStored, Callback):  # type: ignore[misc]
    """Runs once a loop, about ten times a second: repaints, and finds trials that Tune dropped."""

    def __init__(
        self, tick: Callable[[], None], searcher: CampaignSearcher, interrupted: threading.Event
    ) -> None:
        self._tick = tick
        self._searcher = searcher
        self._interrupted = interrupted

    def on_step_end(self, iteration: int, trials: list[RayTrial], **info: Any) -> None:
        # A worker that cannot be reset for its next trial ends that trial without any hook.
        if not self._interrupted.is_set():
            ended = (RayTrial.TERMINATED, RayTrial.ERROR)
            self._searcher.reconcile(t.trial_id for t in trials if t.status in ended)
        self._tick()


class _Interrupt(_NotStored, Stopper):  # type: ignore[misc]
    """Ends the run when Ctrl-C was pressed."""

    def __init__(self, event: threading.Event) -> None:
        self._event = event

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._event.is_set()


def run_campaign(
    campaign: Campaign,
    workplace: dict[str, Any],
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
        cpus_per_trial: CPUs reserved for each trial.
        gpus_per_trial: GPUs (or the fraction of one) reserved for each trial.
        one_machine: Whether Ray was started here, for this machine alone.
        tick: Called about ten times a second.
    """
    bundle = {"CPU": cpus_per_trial} | ({"GPU": gpus_per_trial} if gpus_per_trial else {})
    trainable = tune.with_resources(
        tune.with_parameters(train_trial, workplace=workplace), PlacementGroupFactory([bundle])
    )
    with tempfile.TemporaryDirectory(prefix="pcsearch-tune-") as scratch, _ctrl_c() as interrupted:
        searcher = CampaignSearcher(campaign)
        tuner = Tuner(
            trainable,
            tune_config=TuneConfig(
                search_alg=searcher,
                scheduler=CampaignScheduler(campaign),
                num_samples=-1,
                max_concurrent_trials=campaign.width,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: str(trial.trial_id),
            ),
            run_config=RunConfig(
                name="campaign",
                storage_path=scratch,
                stop=_Interrupt(interrupted),
                verbose=0,
                failure_config=FailureConfig(max_failures=WORKER_RETRIES),
                callbacks=[_Ticker(tick, searcher, interrupted)],
            ),
        )
        with ready_workers() if one_machine else contextlib.nullcontext():
            tuner.fit()
    return campaign.done and not interrupted.is_set()


@contextlib.contextmanager
def _ctrl_c() -> Iterator[threading.Event]:
    """The first Ctrl-C asks for a clean stop, the second ends at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, previous)
