"""What a worker reports of an epoch."""

from __future__ import annotations

from dataclasses import dataclass

from pcsearch.train.checkpoints import Checkpoints
from pcsearch.train.records import EpochRecord, Evaluation


@dataclass(frozen=True)
class TrialReport:
    """One epoch as the campaign takes it.

    Attributes:
        epoch: 1-based.
        value: The metric that decides, in percent; None where nothing validates.
        seconds: Training, validation and test.
        metrics: Whatever else was measured.
        test: The test images' metrics, with the last epoch of a confirm trial only.
        hits: Which test images were named right: packed bits in base64, in the images' order.
        replayed: Whether it comes from a checkpoint, not from a training just now.
        saved: Whether a checkpoint holds the epoch.
        checkpoint_error: Why the last checkpoint could not be written; None if it was.
    """

    epoch: int
    value: float | None
    seconds: float
    metrics: dict[str, float]
    test: dict[str, float] | None = None
    hits: str | None = None
    replayed: bool = False
    saved: bool = False
    checkpoint_error: str | None = None


def report_of(
    record: EpochRecord,
    metric: str,
    seconds: float,
    test: Evaluation | None,
    checkpoints: Checkpoints,
) -> TrialReport:
    """The report of an epoch that took `seconds`, unless it is replayed; `metric` decides."""
    metrics = {
        "train_loss": record.train_loss,
        "train_top1": record.train_top1,
        "lr": record.lr,
        "images": float(record.images),
    }
    if record.clipped is not None:
        metrics["clipped"] = record.clipped
    value = None
    if record.validation is not None:
        measured = _percent_metrics(record.validation)
        value = measured[metric]
        metrics |= {f"val_{key}": measured[key] for key in measured}
    return TrialReport(
        record.epoch,
        value,
        record.seconds if record.replayed else seconds,
        metrics,
        None if test is None else _percent_metrics(test),
        None if test is None else test.hits,
        record.replayed,
        record.epoch <= checkpoints.saved_epoch,
        checkpoints.error,
    )


def _percent_metrics(evaluation: Evaluation) -> dict[str, float]:
    names = ("top1", "mean_class_top1", "top5", "nll", "ece")
    return {name: getattr(evaluation, name) for name in names}
