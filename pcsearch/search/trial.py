"""A trial: one training of one configuration, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Phase = Literal["search", "finalists", "confirm"]
TrialState = Literal["RUNNING", "COMPLETE", "PRUNED", "FAILED"]

Config = dict[str, Any]
"""Hyperparameters and seeds of one training; `lambda` is λ itself, `lambda_over_n` is λ/N.

`split` is the number of the train-validation split, None in confirm, which trains on all training
images.
"""


@dataclass(frozen=True)
class TrialSpec:
    """What is asked for: enough to run the trial anywhere, and nothing about where."""

    trial: str
    study: str
    arm: str
    phase: Phase
    index: int
    epochs: int
    variant: str
    config: Config
    source: str | None = None
    """The search trial whose configuration is retrained (finalists and confirm)."""
    keep_weights: bool = False
    """Whether the trained weights are written to the run folder."""


@dataclass(frozen=True)
class EpochResult:
    """One epoch: `value` is the metric that decides, in percent; None where nothing validates."""

    epoch: int
    value: float | None
    seconds: float
    metrics: dict[str, float] = field(default_factory=dict)


def checkpoint_folder(trial_id: str) -> str:
    """The name of the folder with a trial's checkpoints."""
    return trial_id.replace("/", ".")


def stop_marker(checkpoints: Path) -> Path:
    """The file that is there while a campaign stops and means to go on later.

    Workers then write down the epochs since a trial's last checkpoint before they leave it.
    """
    return checkpoints / "stopping"


@dataclass
class Trial:
    """A trial's history, folded from the journal."""

    spec: TrialSpec
    state: TrialState = "RUNNING"
    epochs: list[EpochResult] = field(default_factory=list)
    error: str | None = None
    test: dict[str, float] | None = None

    @property
    def last_epoch(self) -> int:
        return self.epochs[-1].epoch if self.epochs else 0

    @property
    def last_value(self) -> float | None:
        return self.epochs[-1].value if self.epochs else None

    @property
    def seconds(self) -> float:
        return sum(epoch.seconds for epoch in self.epochs)
