"""What the campaign is told of an epoch."""

from __future__ import annotations

from pathlib import Path

import pytest

from pcsearch.execution.trial_run import report_of
from pcsearch.training.checkpoints import Checkpoints
from pcsearch.training.metrics import EpochRecord


@pytest.mark.parametrize("clipped", [None, 0.0, 62.5])
def test_the_share_of_clipped_updates_is_a_metric_where_it_is_counted(
    clipped: float | None, tmp_path: Path
) -> None:
    record = EpochRecord(3, 1.5, 40.0, 0.01, 2.0, 80, validation=None, clipped=clipped)
    report = report_of(record, "top1", 2.5, None, Checkpoints(tmp_path))
    known = {"train_loss": 1.5, "train_top1": 40.0, "lr": 0.01, "images": 80.0}
    assert report.metrics == known | ({} if clipped is None else {"clipped": clipped})
