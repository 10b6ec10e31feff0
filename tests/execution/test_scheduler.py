"""What the scheduler hands on to the campaign, without Ray: the other half is tested end to end."""

from __future__ import annotations

import errno
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from pcsearch.errors import NodeError
from pcsearch.execution.tune_adapter import CampaignScheduler, RunningTrials
from pcsearch.execution.worker import FAILURE, NODE, REPORT
from pcsearch.execution.worker_health import Watchdog
from pcsearch.runs.shutdown import Ending
from pcsearch.search.campaign import Campaign
from pcsearch.search.journal.journal_file import MemoryJournal
from tests.search.driving import make_plan


@dataclass
class Driven:
    """A campaign's scheduler with its first trial handed out, as Tune's trial `tune-1`."""

    campaign: Campaign
    scheduler: CampaignScheduler
    ending: Ending
    trial: str

    def hand(self, key: str, content: object, **more: object) -> str:
        """A result as a worker reports it."""
        attempt = self.campaign.state.trials[self.trial].attempt
        result = {"trial": self.trial, "attempt": attempt, "host": "a", key: content, **more}
        return self.scheduler.on_trial_result(None, SimpleNamespace(trial_id="tune-1"), result)


def driven(folder: Path, *, one_machine: bool) -> Driven:
    campaign = Campaign(make_plan(), MemoryJournal(), clock=lambda: 0.0, max_concurrent=1)
    spec = campaign.next_trial()
    assert spec is not None
    runs = RunningTrials()
    runs.begin("tune-1", spec.trial)
    watchdog = Watchdog(campaign, runs.trial)
    ending = Ending(folder / "stopping")
    scheduler = CampaignScheduler(campaign, runs, ending, watchdog, one_machine=one_machine)
    return Driven(campaign, scheduler, ending, spec.trial)


EPOCH = {"epoch": 1, "value": 50.0, "seconds": 1.0, "metrics": {}}


def test_a_checkpoint_that_failed_is_told_if_it_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by the soak: a full disk took driver.log, so the message itself ended the campaign."""
    one = driven(tmp_path, one_machine=True)
    report = {**EPOCH, "checkpoint_error": "No space left on device"}
    with Path("/dev/full").open("w", buffering=1) as full:
        monkeypatch.setattr(sys, "stderr", full)
        told = one.hand(REPORT, json.dumps(report))
        monkeypatch.undo()
    assert told == one.scheduler.CONTINUE
    assert one.campaign.state.trials[one.trial].last_epoch == 1


def test_what_a_node_lacks_ends_a_campaign_that_has_trained_nothing(tmp_path: Path) -> None:
    one = driven(tmp_path, one_machine=False)
    one.hand(FAILURE, "this node does not see the run folder", node=True)
    with pytest.raises(NodeError, match="on a: this node does not see"):
        raise one.ending.error or AssertionError
    assert one.campaign.state.trials[one.trial].state == "RUNNING"  # it goes on when mended


def test_what_a_node_lacks_later_costs_no_trial(tmp_path: Path) -> None:
    one = driven(tmp_path, one_machine=False)
    assert one.hand(REPORT, json.dumps(EPOCH)) == one.scheduler.CONTINUE
    assert one.hand(FAILURE, "Stale file handle", node=True) == one.scheduler.STOP
    trial = one.campaign.state.trials[one.trial]
    assert one.ending.error is None
    assert (trial.state, trial.attempt, trial.retries) == ("RUNNING", 1, 0)
    assert one.campaign.next_trial() == trial.spec


def test_on_one_machine_there_is_no_other_node(tmp_path: Path) -> None:
    one = driven(tmp_path, one_machine=True)
    one.hand(FAILURE, "no such images", node=True)
    assert one.campaign.state.trials[one.trial].state == "FAILED"


def test_weights_that_could_not_be_written_end_the_campaign_and_not_the_trial(
    tmp_path: Path,
) -> None:
    """Found by the soak: a disk that was full just then had the trial fail for good."""
    one = driven(tmp_path, one_machine=True)
    file = str(tmp_path / "weights" / "a.safetensors")
    one.hand(FAILURE, "OSError", unwritable=[errno.ENOSPC, "No space left on device", file])
    assert isinstance(one.ending.error, OSError)
    assert (one.ending.error.errno, one.ending.error.filename) == (errno.ENOSPC, file)
    assert one.campaign.state.trials[one.trial].state == "RUNNING"


def test_nodes_of_one_host_name_are_two_nodes(tmp_path: Path) -> None:
    """What one of them has decoded, or lacks, says nothing of the other."""
    campaign = Campaign(make_plan(), MemoryJournal(), clock=lambda: 0.0, max_concurrent=2)
    runs, ending = RunningTrials(), Ending(tmp_path / "stopping")
    watchdog = Watchdog(campaign, runs.trial)
    scheduler = CampaignScheduler(campaign, runs, ending, watchdog, one_machine=False)
    for node in ("first", "second"):
        spec = campaign.next_trial()
        assert spec is not None
        runs.begin(node, spec.trial)
        result = {"trial": spec.trial, "attempt": 0, "host": "worker", NODE: node}
        if node == "first":
            result |= {REPORT: json.dumps(EPOCH)}
        else:
            result |= {FAILURE: "loss became nan", "node": False}
        scheduler.on_trial_result(None, SimpleNamespace(trial_id=node), result)
    assert runs.warmth.next() == frozenset(), "the second has trained nothing"
    runs.warmth.taken()
    runs.warmth.freed("first")
    assert runs.warmth.next() == {"digits"}
