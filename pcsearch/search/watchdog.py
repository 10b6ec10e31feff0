"""Looks after the workers: one that reports no epoch for far too long is ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable

import ray
from ray.tune.experiment import Trial as RayTrial

from pcsearch.search.campaign import Campaign
from pcsearch.search.deadline import deadline_seconds
from pcsearch.search.trial import Loss

_LOOK_SECONDS = 1.0
_STANDSTILL_SECONDS = 5.0


class Watchdog:
    """Ends the workers of trials whose next epoch is long overdue.

    Args:
        campaign: Knows how long epochs take.
        trial_of: The campaign's trial that one of Tune's trains, None if it has ended.
        decodes: See `deadline_seconds`.

    Attributes:
        hung: Tune's id to what is to be said of a trial whose worker was ended so.
    """

    def __init__(
        self, campaign: Campaign, trial_of: Callable[[str], str | None], *, decodes: bool = False
    ) -> None:
        self.hung: dict[str, tuple[str, Loss]] = {}
        self._campaign = campaign
        self._trial_of = trial_of
        self._decodes = decodes
        self._since: dict[str, tuple[float, bool]] = {}
        self._actors: dict[str, ray.actor.ActorHandle] = {}
        self._looked = 0.0

    def reported(self, tune_id: str) -> None:
        """An epoch of a trial has come in."""
        self._since[tune_id] = (time.monotonic(), False)

    def look(self, trials: Iterable[RayTrial]) -> None:
        """End what hangs; does something once a second only."""
        now = time.monotonic()
        passed = now - self._looked
        if passed < _LOOK_SECONDS:
            return
        self._looked = now
        if passed > _STANDSTILL_SECONDS:  # this process was deaf to reports: a store was away
            self._since = {key: (t + passed, first) for key, (t, first) in self._since.items()}
        # One that is pending and has a worker is to begin on one that was kept, which may be stuck.
        running = {
            trial.trial_id: trial.temporary_state.ray_actor
            for trial in trials
            if trial.status in (RayTrial.PENDING, RayTrial.RUNNING)
            and trial.temporary_state.ray_actor is not None
        }
        self._actors = running
        self._since = {key: self._since.get(key, (now, True)) for key in running}
        for tune_id, (since, first) in self._since.items():
            name = self._trial_of(tune_id)
            if name is None or tune_id in self.hung:
                continue
            state = self._campaign.state
            trial = state.trials[name]
            limit = deadline_seconds(state, trial, first=first, decodes=self._decodes)
            if now - since > limit:
                reason = f"its worker hung: no epoch for {limit:.0f} s"
                self.hung[tune_id] = (reason, "hang")
                self.end([tune_id])

    def end(self, tune_ids: Iterable[str]) -> None:
        """End the workers of trials at once, whatever they do."""
        for tune_id in tune_ids:
            actor = self._actors.get(tune_id)
            if actor is not None:
                with contextlib.suppress(Exception):  # it may have died by itself meanwhile
                    ray.kill(actor)
