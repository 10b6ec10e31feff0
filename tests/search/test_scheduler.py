"""What the scheduler hands on to the campaign, without Ray: the other half is tested end to end."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pcsearch.search.campaign import Campaign
from pcsearch.search.ending import Ending
from pcsearch.search.journal import MemoryJournal
from pcsearch.search.trainable import REPORT
from pcsearch.search.tune_scheduler import CampaignScheduler
from pcsearch.search.tune_searcher import Runs
from pcsearch.search.watchdog import Watchdog
from tests.search.driving import make_plan


def test_a_checkpoint_that_failed_is_told_if_it_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by the soak: a full disk took driver.log, so the message itself ended the campaign."""
    campaign = Campaign(make_plan(), MemoryJournal(), clock=lambda: 0.0, width=1)
    spec = campaign.next_trial()
    assert spec is not None
    runs = Runs()
    scheduler = CampaignScheduler(
        campaign,
        runs,
        Ending(tmp_path / "stopping"),
        Watchdog(campaign, runs.trial),
        one_machine=True,
    )
    runs.begin("tune-1", spec.trial)
    report = {
        "epoch": 1,
        "value": 50.0,
        "seconds": 1.0,
        "metrics": {},
        "checkpoint_error": "No space left on device",
    }
    result = {"trial": spec.trial, "attempt": 0, REPORT: json.dumps(report)}
    with Path("/dev/full").open("w", buffering=1) as full:
        monkeypatch.setattr(sys, "stderr", full)
        told = scheduler.on_trial_result(None, SimpleNamespace(trial_id="tune-1"), result)
        monkeypatch.undo()
    assert told == scheduler.CONTINUE
    assert campaign.state.trials[spec.trial].last_epoch == 1
