"""Worker health: why a worker was lost, which one hangs, and which node lacks something."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import ray
from ray.tune.experiment import Trial as RayTrial

from pcsearch.search.campaign import Campaign
from pcsearch.search.state import CampaignState
from pcsearch.search.trial import FailureKind, Trial

_NODE = ("node has died", "node died", "node was drained", "node is dead", "its node")
_ASKED = "The process receives a SIGTERM"


def classify_failure(
    error: BaseException | None, *, one_machine: bool = False, waited: bool = False
) -> tuple[str, FailureKind]:
    """The reason for the journal, and its kind: the node was lost, or only the process.

    A lost node is not the trial's fault and costs no retry. These count as a lost node, too:

    - A broken connection: Ray does not know yet whether the node or the process ended. With
      `one_machine`, the node is still there, so it was the process.
    - SIGTERM to a worker: a machine that shuts down sends it to its processes, in any order. A
      cloud that reclaims a machine shuts it down.
    - A worker that died while it `waited` for a trial: the trial that finds it dead did not end it.
    """
    if error is None:
        return "its worker was lost", "worker"
    from ray.exceptions import (
        ActorUnavailableError,
        NodeDiedError,
        OutOfMemoryError,
        RayActorError,
        RayTaskError,
    )

    text = " ".join(str(error).split())
    if isinstance(error, NodeDiedError) or any(sign in text for sign in _NODE):
        return "its node was lost", "node"
    if isinstance(error, ActorUnavailableError):
        return "the connection to its worker broke", "worker" if one_machine else "node"
    if _ASKED in text and isinstance(error, RayActorError) and not one_machine:
        return "its worker was asked to end, by SIGTERM", "node"
    if isinstance(error, OutOfMemoryError):
        return "its node ran out of memory and Ray ended its worker", "worker"
    if isinstance(error, RayTaskError):
        lines = [line for line in str(error).splitlines() if line.strip()]
        return (
            f"its worker failed: {lines[-1].strip() if lines else 'no reason is known'}",
            "worker",
        )
    if isinstance(error, RayActorError) and waited:
        return "its worker had died while it waited for a trial", "node"
    if isinstance(error, RayActorError):
        return f"its worker died ({_cause(str(error))})", "worker"
    return f"its worker was lost ({text or 'no reason is known'})", "worker"


def error_of(pickled: str | None) -> BaseException | None:
    """What ended a worker, from the file that Tune has just written in its scratch folder.

    When Tune calls the scheduler, its own reader of this file still returns None.
    """
    from ray import cloudpickle

    try:
        error = cloudpickle.loads(Path(pickled or "").read_bytes())
    except Exception:
        return None
    return error if isinstance(error, BaseException) else None


def _cause(message: str) -> str:
    """The cause in Ray's message, without names, ids and guesses."""
    detail = re.search(
        r"exit detail: (.*?)(?: Some common causes| There are some|$)", message, re.S
    )
    lines = (detail[1] if detail else message).strip().splitlines()
    return lines[-1].strip().rstrip(".") if lines else "no reason is known"


NODE_PATIENCE_SECONDS = 60.0
"""How long a node may lack something while others train: a mount may be late."""


class NodeTrouble:
    """Which nodes of a cluster lacked something recently.

    Args:
        clock: Seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._trained = False
        self._told: dict[str, tuple[float, float]] = {}

    def trained(self, node: str) -> None:
        """Record an epoch from the node."""
        self._trained = True
        self._told.pop(node, None)

    def stays(self, node: str) -> bool:
        """Record that the node could not train a trial; whether the campaign should end.

        Before the first epoch, an end loses nothing. Later, only a node that fails for longer than
        `NODE_PATIENCE_SECONDS` ends the campaign, since every trial sent there fails.
        """
        now = self._clock()
        first, last = self._told.get(node, (now, now))
        if now - last > NODE_PATIENCE_SECONDS:
            first = now
        self._told[node] = first, now
        return not self._trained or now - first > NODE_PATIENCE_SECONDS


_TIMES = 10.0
"""Multiple of the longest epoch measured in the study."""

SHORTEST_DEADLINE_SECONDS = 30.0
"""Lower limit for short epochs: a machine may be busy for that long."""

_START_SECONDS = 60.0
"""Extra for the first epoch of an attempt, which opens images and loads weights."""

_DECODE_SECONDS = 0.1
"""Extra for every image that the node may have to decode first: the time of a large photograph on
one core."""

_FEATURE_SECONDS = 2.0
"""Extra for every image whose features a worker may have to compute first: two views by a large
network on one core."""

UNMEASURED_SECONDS = 3600.0
"""The deadline until an epoch of the study has ended, and the limit for decoding."""


def deadline_seconds(
    state: CampaignState, trial: Trial, *, first: bool, decodes: bool = False
) -> float:
    """Seconds within which a trial must report its next epoch.

    Confirm trains on more images than the search, so the longest time per image counts. With a
    frozen body, a worker may have to compute features first, as it may have to decode images.

    Args:
        state: What has been measured so far.
        trial: The trial that trains.
        first: Whether this attempt has not reported an epoch yet.
        decodes: Whether workers may be on nodes that have not decoded the images yet. They decode
            the training images before the first epoch, the test images in confirm's last epoch.
    """
    study = state.plan.study(trial.spec.study)
    slowest, images = state.trained[study.id].slowest, study.images
    new = images.train if first else 0
    if trial.spec.phase == "confirm" and trial.epochs_left == 1:
        new += images.test
    features = _FEATURE_SECONDS * new if study.frozen_body else 0.0
    if slowest is None:
        return UNMEASURED_SECONDS + features
    limit = max(SHORTEST_DEADLINE_SECONDS, _TIMES * slowest * images.of(trial.spec.phase))
    limit += features
    if first:
        limit += _START_SECONDS
    if not decodes:
        return limit
    return max(limit, min(UNMEASURED_SECONDS, limit + _DECODE_SECONDS * new))


_LOOK_SECONDS = 1.0
_STANDSTILL_SECONDS = 5.0


class Watchdog:
    """Kills the workers of trials whose next epoch is overdue.

    Args:
        campaign: Has the measured times of epochs.
        trial_of: Maps Tune's id to the campaign's trial; None if it has ended.
        decodes: See `deadline_seconds`.

    Attributes:
        hung: Maps Tune's id of each killed trial to its reason and kind.
    """

    def __init__(
        self, campaign: Campaign, trial_of: Callable[[str], str | None], *, decodes: bool = False
    ) -> None:
        self.hung: dict[str, tuple[str, FailureKind]] = {}
        self._campaign = campaign
        self._trial_of = trial_of
        self._decodes = decodes
        self._since: dict[str, tuple[float, bool]] = {}
        self._actors: dict[str, ray.actor.ActorHandle] = {}
        self._looked = 0.0

    def reported(self, tune_id: str) -> None:
        """Record an epoch of a trial."""
        self._since[tune_id] = (time.monotonic(), False)

    def look(self, trials: Iterable[RayTrial]) -> None:
        """Kill the workers that hang. Runs at most once a second."""
        now = time.monotonic()
        passed = now - self._looked
        if passed < _LOOK_SECONDS:
            return
        self._looked = now
        if passed > _STANDSTILL_SECONDS:  # a slow store kept this process from reading reports
            self._since = {key: (t + passed, first) for key, (t, first) in self._since.items()}
        # A pending trial with a worker starts on a kept one, which may be stuck.
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
        """Kill the workers of trials at once."""
        for tune_id in tune_ids:
            actor = self._actors.get(tune_id)
            if actor is not None:
                with contextlib.suppress(Exception):  # it may have died already
                    ray.kill(actor)
