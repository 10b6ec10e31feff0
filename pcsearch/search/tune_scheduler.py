"""Where the epochs of Ray Tune's trials go: a scheduler that hands them to the campaign."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from typing import Any

from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import FIFOScheduler

from pcsearch.errors import NodeError
from pcsearch.search.campaign import Campaign
from pcsearch.search.ended_trials import forget_ended
from pcsearch.search.ending import Ending
from pcsearch.search.kept_workers import died_waiting, keep_workers
from pcsearch.search.losses import error_of, loss_of
from pcsearch.search.node_trouble import NodeTrouble
from pcsearch.search.trainable import FAILURE, NODE, REPORT
from pcsearch.search.tune_searcher import NotStored, Runs
from pcsearch.search.warmth import KEPT_SECONDS
from pcsearch.search.watchdog import Watchdog

_log = logging.getLogger(__name__)


class CampaignScheduler(NotStored, FIFOScheduler):  # type: ignore[misc]
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
        if failed is not None:  # training goes on; this goes to driver.log, if there is room for it
            _log.warning("%s, epoch %d: %s", name, report["epoch"], failed)
        goes_on = self._campaign.report(name, **report, attempt=result["attempt"])
        if self._ending.begun and saved:
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
        if name is None or self._ending.begun:
            return
        hung = self._watchdog.hung.get(trial.trial_id)
        reason, kind = hung or loss_of(
            error_of(trial.pickled_error_file),
            one_machine=self._one_machine,
            waited=died_waiting(tune_controller, trial),
        )
        with self._ending.guard():
            self._campaign.lost(name, reason, kind)


def _node(result: Mapping[str, Any]) -> str:
    return str(result.get(NODE, result["host"]))
