"""A trial: one training of one configuration, its history, and the order of two trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

Phase = Literal["search", "finalists", "confirm"]
TrialState = Literal["RUNNING", "COMPLETE", "PRUNED", "DIVERGED", "FAILED"]
UNTRAINED: tuple[TrialState, ...] = ("DIVERGED", "FAILED")
"""States of trials that ended without a usable network."""

FailureKind = Literal["worker", "node", "hang", "memory"]
"""What a running trial lost: its process, the machine below it, its progress, its memory."""

KNN, NEIGHBOURS = "knn", "knn_k"
"""Test metrics of a study with a frozen body: what k-nearest neighbours reach, and their k."""

Config = dict[str, Any]
"""Hyperparameters and seeds of one training; `lambda` is λ itself, `lambda_over_n` is λ/N.

`split` is the number of the train-validation split. It is None in confirm, which trains on all
training images.
"""


@dataclass(frozen=True)
class TrialSpec:
    """The request for a trial: enough to run it anywhere, and nothing about where."""

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
    """One epoch: `value` is the metric that decides, in percent; None without validation."""

    epoch: int
    value: float | None
    seconds: float
    metrics: dict[str, float] = field(default_factory=dict)


def checkpoint_folder(trial_id: str) -> str:
    """The name of the folder with a trial's checkpoints."""
    return trial_id.replace("/", ".")


def weights_file(spec: TrialSpec) -> str:
    """The name of a confirm trial's weights file, by study and arm.

    A wider search may replace a choice and later return to it, so each choice keeps its own file.
    """
    anew = spec.trial.partition(f"/confirm-{spec.index:03d}")[2]
    return f"{spec.study.replace('/', '.')}.{spec.arm}{anew}.safetensors"


PREDICTIONS = "predictions"
"""The folder of a run that holds its trials' predictions."""


def predictions_name(trial_id: str) -> str:
    """The name of the file with a trial's predictions."""
    return f"{checkpoint_folder(trial_id)}.safetensors"


def stop_marker(checkpoints: Path) -> Path:
    """The file that exists while a campaign stops to resume later.

    Workers then save the epochs since a trial's last checkpoint before they leave it.
    """
    return checkpoints / "stopping"


@dataclass
class Trial:
    """A trial's history, folded from the journal.

    Attributes:
        attempt: Number of restarts, after interruptions or lost workers.
        retries: How often its worker died or hung without its node; bounded.
        lost_nodes: Nodes that it lost since its last new epoch.
        begun_again: Number of restarts after any such loss.
        micro_batches: Parts that each batch is trained in; more than one after running out of
            memory.
        repeated: Epochs trained again, as they came after the last checkpoint.
        repeated_seconds: The time of these.
        differing: How many of these gave other measures, compared bit for bit.
        hits: Which test images were classified correctly, packed bits in base64; None if not kept.
        weights_error: Why its weights could not be written; None if they were, or were not asked.
        predictions: The SHA-256 of the file with its predictions; None if there is none.
        predictions_error: Why this file could not be written.
    """

    spec: TrialSpec
    state: TrialState = "RUNNING"
    epochs: list[EpochResult] = field(default_factory=list)
    error: str | None = None
    test: dict[str, float] | None = None
    hits: str | None = None
    weights_error: str | None = None
    predictions: str | None = None
    predictions_error: str | None = None
    attempt: int = 0
    retries: int = 0
    lost_nodes: int = 0
    begun_again: int = 0
    micro_batches: int = 1
    repeated: int = 0
    repeated_seconds: float = 0.0
    differing: int = 0

    @property
    def comparable(self) -> bool:
        """Whether it saw whole batches: divided batches have other batch statistics."""
        return self.micro_batches == 1

    @property
    def last_epoch(self) -> int:
        return self.epochs[-1].epoch if self.epochs else 0

    @property
    def epochs_left(self) -> int:
        """Epochs to its full budget."""
        return self.spec.epochs - self.last_epoch

    @property
    def last_value(self) -> float | None:
        return self.epochs[-1].value if self.epochs else None

    @property
    def seconds(self) -> float:
        return sum(epoch.seconds for epoch in self.epochs)


Rank = tuple[float, float, float, int]


def rank(values: Sequence[float], config: Config, trial: Trial) -> Rank:
    """The sort key, best first: more values, a higher mean, a smaller λ, asked earlier.

    Args:
        values: The last epoch's metric, in percent, on each split.
        config: The configuration that these values measure.
        trial: The search trial that it comes from.
    """
    strength = float(config.get("lambda") or 0.0)
    score = round(fmean(values), 9)  # equal counts of hits may differ in the last bit of a mean
    return (-len(values), -score, strength, trial.spec.index)


def last_value(trial: Trial) -> float:
    """The metric of a trial's last epoch, in percent (never the best epoch's).

    Raises:
        ValueError: the trial has no such value.
    """
    if trial.last_value is None:
        raise ValueError(f"{trial.spec.trial} has no validation value")
    return trial.last_value
