"""The campaign as a Ray Tune searcher, which asks it for trials, and scheduler, which reports."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from pcsearch.errors import NodeError
from pcsearch.execution.tune_patches import died_waiting, forget_ended, keep_workers
from pcsearch.execution.worker import FAILURE, NODE, REPORT
from pcsearch.execution.worker_health import NodeTrouble, Watchdog, classify_failure, error_of
from pcsearch.runs.shutdown import Ending
from pcsearch.search.campaign import KEPT_SECONDS, Campaign, Warmth

WAITS_AFTER_SECONDS = 10.0
"""A shorter wait is a worker's start, which takes seconds. Tune does not distinguish a trial whose
worker starts from one without a node."""


class Waiting:
    """Counts trials that wait for a node, which takes minutes on a cluster that grows."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[str, float] = {}

    def look(self, trials: Sequence[RayTrial]) -> int:
        """The number of Tune's trials that have waited for at least `WAITS_AFTER_SECONDS`."""
        now = self._clock()
        pending = [trial.trial_id for trial in trials if trial.status == RayTrial.PENDING]
        self._since = {name: self._since.get(name, now) for name in pending}
        return sum(now - since >= WAITS_AFTER_SECONDS for since in self._since.values())


class NotStored:
    """Pickles as an empty object: Tune pickles its parts to restore them later, and we never do."""

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return (object, ())


class RunningTrials:
    """Maps Tune's running trials to the campaign's."""

    def __init__(self) -> None:
        self._open: dict[str, str] = {}
        self.safe: set[str] = set()
        """Trials whose last epoch is in a checkpoint since the campaign began to end."""
        self.warmth = Warmth()

    @property
    def ids(self) -> set[str]:
        return set(self._open)

    def begin(self, tune_id: str, trial: str) -> None:
        self._open[tune_id] = trial

    def trial(self, tune_id: str) -> str | None:
        return self._open.get(tune_id)

    def end(self, tune_id: str) -> str | None:
        """Remove and return the trial; None if the campaign ended it before."""
        return self._open.pop(tune_id, None)


class CampaignSearcher(NotStored, Searcher):  # type: ignore[misc]
    """Gives Tune the campaign's trials, and the campaign the ends that only Tune sees."""

    def __init__(self, campaign: Campaign, runs: RunningTrials, ending: Ending) -> None:
        super().__init__()
        self._campaign = campaign
        self._runs = runs
        self._ending = ending

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        return True

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        return True  # Tune already limits its trials to the campaign's width

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        spec, done = None, False
        if not self._ending.requested:
            with self._ending.guard():
                decoded = self._runs.warmth.next()
                spec, done = self._campaign.next_trial(decoded), self._campaign.done
        if spec is None:
            # After None with no running trial, Tune would sleep for minutes and miss events.
            done = done or (self._ending.requested and not self._runs.ids)
            return Searcher.FINISHED if done else None
        self._runs.warmth.taken()
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
        # Trials that the campaign or an error ended are no longer open, so this ignores them.
        self.lost([trial_id], "its worker ended before its last epoch")

    def lost(self, trial_ids: Iterable[str], reason: str) -> None:
        """Report to the campaign the trials that Tune ended without our decision."""
        for trial_id in trial_ids:
            trial = self._runs.end(trial_id)
            if trial is not None and not self._ending.requested:
                with self._ending.guard():
                    self._campaign.lost(trial, reason, "worker")

    def save(self, checkpoint_path: str) -> None:
        """Nothing to do: the journal is the only record."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing to do: see `save`."""

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a campaign resumes from its journal, never from Tune's files")


_log = logging.getLogger(__name__)


class CampaignScheduler(NotStored, FIFOScheduler):  # type: ignore[misc]
    """Reports each epoch to the campaign, and stops the trial if the campaign decides so."""

    def __init__(
        self,
        campaign: Campaign,
        runs: RunningTrials,
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
        self._trouble = NodeTrouble()

    def on_trial_add(self, tune_controller: object, trial: RayTrial) -> None:
        forget_ended(tune_controller)
        keep_workers(tune_controller, math.inf if self._one_machine else KEPT_SECONDS)

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
        if not self._one_machine:
            self._remember(name, result, free=not goes_on)
        if not goes_on:
            self._runs.end(trial.trial_id)
        return str(self.CONTINUE if goes_on else self.STOP)

    def _remember(self, name: str, result: Mapping[str, Any], *, free: bool) -> None:
        node = _node(result)
        if FAILURE not in result:
            study = self._campaign.state.trials[name].spec.study
            self._runs.warmth.trained(node, study.partition("/")[0])
            self._trouble.trained(node)
        if free:
            self._runs.warmth.freed(node)

    def _taken(self, name: str, trial_id: str, result: Mapping[str, Any]) -> bool:
        if FAILURE in result:
            self._failed(name, result)
            return False
        report = json.loads(result[REPORT])
        saved = report.pop("saved", False)
        failed = report.pop("checkpoint_error", None)
        if failed is not None:  # training continues; the warning goes to driver.log
            _log.warning("%s, epoch %d: %s", name, report["epoch"], failed)
        goes_on = self._campaign.report(name, **report, attempt=result["attempt"])
        if self._ending.requested and saved:
            self._runs.safe.add(trial_id)
        return goes_on

    def _failed(self, name: str, result: Mapping[str, Any]) -> None:
        if result.get("unwritable"):
            raise OSError(*result["unwritable"])
        if result.get("node") and not self._one_machine:
            reason = f"on {result['host']}: {result[FAILURE]}"
            if self._trouble.stays(_node(result)):
                raise NodeError(reason)
            self._campaign.lost(name, reason, "node")
        elif result.get("memory"):
            self._campaign.lost(name, result[FAILURE], "memory")
        elif result.get("diverged"):
            self._campaign.diverge(name, result[FAILURE])
        else:
            self._campaign.fail(name, result[FAILURE])

    def on_trial_error(self, tune_controller: object, trial: RayTrial) -> None:
        name = self._runs.end(trial.trial_id)
        if name is None or self._ending.requested:
            return
        hung = self._watchdog.hung.get(trial.trial_id)
        reason, kind = hung or classify_failure(
            error_of(trial.pickled_error_file),
            one_machine=self._one_machine,
            waited=died_waiting(tune_controller, trial),
        )
        with self._ending.guard():
            self._campaign.lost(name, reason, kind)


def _node(result: Mapping[str, Any]) -> str:
    return str(result.get(NODE, result["host"]))
