"""Trials that were asked and have no node are counted, those that are being started are not."""

from __future__ import annotations

from dataclasses import dataclass

from ray.tune.experiment import Trial as RayTrial

from pcsearch.execution.tune_adapter import WAITS_AFTER_SECONDS, Waiting


@dataclass
class OfTune:
    """What is looked at of one of Tune's trials."""

    trial_id: str
    status: str


def test_only_who_waits_for_long_waits() -> None:
    now = [0.0]
    waiting = Waiting(clock=lambda: now[0])
    first, second = OfTune("a", RayTrial.PENDING), OfTune("b", RayTrial.RUNNING)
    trials = [first, second]
    assert waiting.look(trials) == 0  # type: ignore[arg-type]
    now[0] = WAITS_AFTER_SECONDS
    trials.append(OfTune("c", RayTrial.PENDING))
    assert waiting.look(trials) == 1  # type: ignore[arg-type]
    now[0] = 2 * WAITS_AFTER_SECONDS
    assert waiting.look(trials) == 2  # type: ignore[arg-type]
    first.status = RayTrial.RUNNING
    assert waiting.look(trials) == 1  # type: ignore[arg-type]
    first.status = RayTrial.PENDING  # its node was lost: it waits anew
    assert waiting.look(trials) == 1  # type: ignore[arg-type]
