"""Killed workers, failing trials, Ctrl-C: what was run is kept, and the campaign goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pcsearch.execution.trial_run import WorkerContext, run_trial
from pcsearch.search.trial import TrialSpec
from tests.e2e.cli import (
    CommandLine,
    descendants,
    ended,
    epoch_events,
    overrides,
    read_journal,
    wait_for,
    workers,
)
from tests.e2e.conftest import Interrupted

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

MAX_EPOCHS = 5

NETWORKS = """
import torch
from torch import nn
from pcsearch.models.compact_cnn import CompactCNN


class Diverging(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.head = nn.Linear(3, num_classes)

    def forward(self, images):
        return self.head(images.mean((2, 3))) * float("nan")


def seed():
    return torch.initial_seed()  # the trial's own; 0 where the driver tries the function


def sometimes(num_classes):
    if seed() % 3 == 1:
        raise ZeroDivisionError("this network does not like its seed")
    if seed() % 3 == 2:
        return Diverging(num_classes)
    return CompactCNN(num_classes)


def never(num_classes):
    if seed() == 0:
        return CompactCNN(num_classes)
    raise ValueError("never works")
"""


def test_a_killed_worker_costs_nothing(pcsearch: CommandLine, tmp_path: Path, cache: Path) -> None:
    process = pcsearch.start(
        "tune",
        "quickstart",
        "datasets=[digits]",
        *overrides(
            search={"trials": 1, "control": "none"},
            asha={"max_epochs": MAX_EPOCHS, "grace_epochs": 4},
            finalists={"configs": 0, "repeats": 0},
            confirm={"seeds": 1, "epochs": 2},
            resources={"max_concurrent": 1},
        ),
        "--name=killed",
        "--plain",
    )
    wait_for(lambda: epoch_events(pcsearch.events("killed")), process)
    (victim,) = wait_for(lambda: workers(process.pid), process)
    os.kill(victim.pid, signal.SIGKILL)
    before = epoch_events(pcsearch.events("killed"))
    assert len(before) < MAX_EPOCHS, "the trial was over before its worker was killed"
    result = ended(process)
    assert result.code == 0, result

    search, confirm = pcsearch.trials("killed")
    assert [epoch for epoch, _ in search["epochs"]] == list(range(1, MAX_EPOCHS + 1))
    assert (search["state"], confirm["state"]) == ("COMPLETE", "COMPLETE")
    assert search["error"] is None
    assert pcsearch.summary("killed")["studies"][0]["trials"]["failed"] == 0
    asked = next(e for e in pcsearch.events("killed") if e["event"] == "asked")
    uninterrupted = run_alone(asked["spec"], pcsearch, tmp_path)
    assert search["epochs"] == uninterrupted


def run_alone(spec: dict[str, Any], pcsearch: CommandLine, folder: Path) -> list[list[Any]]:
    """The epochs of the same trial in this process, without Ray and without a fault."""
    run = pcsearch.folder / "runs" / "killed"
    plan = pcsearch.events("killed")[0]["plan"]
    context = WorkerContext(
        recipe=(run / "recipe.yaml").read_text(),
        cache=str(pcsearch.cache),
        data=str(run / "data"),
        checkpoints=str(folder),
        weights=str(folder),
        cpus=1,
        gpus=0,
        split_hashes={study["id"]: study["split_hash"] for study in plan["studies"]},
        import_path=str(folder),
    )
    reports = run_trial(TrialSpec(**spec), context)
    return [[report.epoch, report.value] for report in reports]


def test_trials_that_fail_are_reported_and_the_rest_goes_on(pcsearch: CommandLine) -> None:
    (pcsearch.folder / "networks.py").write_text(NETWORKS)
    result = pcsearch.run(
        "tune",
        "quickstart",
        "datasets=[digits]",
        "data.classes=[1, 2, 3]",
        "backbones=[networks:sometimes, networks:never]",
        *overrides(
            search={"trials": 6, "lambda_over_n": 0.1, "lr": 0.05},
            asha={"max_epochs": 2, "grace_epochs": 1},
            finalists={"configs": 0, "repeats": 0},
            confirm={"seeds": 6, "epochs": 1},
        ),
        "--name=mixed",
        "--allow-code=networks",
        "--plain",
    )
    assert result.code == 1, result
    assert "Traceback" not in result.out + result.err
    summary, rows = pcsearch.summary("mixed"), pcsearch.trials("mixed")
    assert summary["status"] == "failed"
    some, none = summary["studies"]

    for row in rows:
        seed = row["config"]["seed"]
        if "never" in row["study"]:
            assert row["state"] == "FAILED"
            assert "never works" in row["error"] or row["error"] == "its study was given up"
        elif seed % 3 == 1:
            assert row["state"] == "FAILED"
            assert "ZeroDivisionError: this network does not like its seed" in row["error"]
        elif seed % 3 == 2:
            assert row["state"] == "DIVERGED"
            assert "loss became nan at epoch 1, step 1" in row["error"]
        else:
            assert row["state"] in ("COMPLETE", "PRUNED")
        if row["state"] in ("FAILED", "DIVERGED"):
            assert row["epochs"] == []
    states = [row["state"] for row in rows if "sometimes" in row["study"]]
    assert {"FAILED", "DIVERGED"} < set(states), "both kinds should occur"
    assert some["trials"]["failed"] == states.count("FAILED")
    assert some["trials"]["diverged"] == states.count("DIVERGED")
    assert some["trials"]["total"] == 2 * (6 + 6)

    pc, control = some["arms"]["pc"]["test_top1"], some["arms"]["control"]["test_top1"]
    assert pc["seeds"] == control["seeds"]
    assert all(seed % 3 == 0 for seed in pc["seeds"])
    # the study is given up once three have failed for one reason; one more may have been running
    failures = none["trials"]["failed"]
    others = {"complete": 0, "pruned": 0, "diverged": 0}
    assert none["trials"] == {"total": failures, "failed": failures, **others}
    assert failures in (3, 4)
    for arm in none["arms"].values():
        assert arm["test_top1"] is arm["val_top1"] is arm["gain"] is None
    assert "trials failed for the same reason" in result.out
    assert "never works" in result.out
    assert pcsearch.run("summary", "mixed").code == 0


def test_ctrl_c_ends_the_campaign_cleanly(interrupted: Interrupted) -> None:
    result = interrupted.result
    assert result.code == 130, result
    assert result.seconds < 10
    assert "Traceback" not in result.out + result.err
    assert "interrupted; resume with: pcsearch resume runs/busy" in result.out
    assert interrupted.left_over == []


IN_A_TERMINAL = """
import os, pty, sys, time
from pathlib import Path

pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.executable, [sys.executable, "-m", "pcsearch", *sys.argv[1:]])
journal = Path("runs/hung/journal.jsonl")
while not (journal.is_file() and b'"epoch"' in journal.read_bytes()):
    os.read(terminal, 65536)
print(pid, flush=True)
time.sleep(1)  # for a look at its processes
os.close(terminal)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_a_closed_terminal_ends_the_campaign_cleanly(pcsearch: CommandLine) -> None:
    process = pcsearch.start_python(
        "-c", IN_A_TERMINAL, "tune", "quickstart", "datasets=[digits]", "--name=hung",
        *overrides(search={"trials": 40}, asha={"max_epochs": 60}),
    )  # fmt: skip
    assert process.stdout is not None
    below = descendants(int(process.stdout.readline()))
    assert below
    result = ended(process, timeout=120)
    assert result.out == "129\n", result
    until = time.monotonic() + 60
    while (left := [other for other in below if other.is_alive]) and time.monotonic() < until:
        time.sleep(0.1)
    assert left == []
    last = pcsearch.events("hung")[-1]
    assert (last["event"], last["status"]) == ("ended", "interrupted")


def test_an_interrupted_campaign_can_still_be_read(interrupted: Interrupted) -> None:
    assert interrupted.summary["status"] == "interrupted"
    command = interrupted.pcsearch
    assert "interrupted" in command.run("summary", "busy").out
    assert len(command.trials("busy")) >= len(interrupted.rows)
    assert command.events("busy")[-1]["event"] == "ended"
    listed = command.run("runs", "ls")
    assert listed.code == 0
    assert "busy" in listed.out
    assert "interrupted" in listed.out


def test_a_driver_that_vanished_was_interrupted(pcsearch: CommandLine) -> None:
    """After SIGKILL nobody could write the end, but readers must not say `running`."""
    process = pcsearch.start(
        "tune", "quickstart", "datasets=[digits]", "search.trials=40", "--name=gone", "--plain"
    )
    wait_for(lambda: epoch_events(pcsearch.events("gone")), process)
    below = workers(process.pid)
    process.kill()
    ended(process)
    assert pcsearch.summary("gone")["status"] == "interrupted"
    assert len(pcsearch.trials("gone")) >= 1
    until = time.monotonic() + 30
    while (left := [other for other in below if other.is_alive]) and time.monotonic() < until:
        time.sleep(0.2)
    assert left == []


def test_a_disk_that_fills_up_and_is_freed(
    pcsearch: CommandLine, disk_of: Callable[[str], Path]
) -> None:
    """That it then decides and measures as if nothing had been, the soak sees (test_soak.py)."""
    disk = disk_of("150m")
    arguments = overrides(
        **{"data.classes": [1, 7, 8, 9]},
        search={"trials": 4},
        asha={"max_epochs": 8, "grace_epochs": 2, "reduction_factor": 2},
        finalists={"configs": 0, "repeats": 0},
        confirm={"seeds": 1, "epochs": 2},
        resources={"max_concurrent": 1},
    )
    tune = ("tune", "quickstart", "datasets=[digits]", *arguments, "--name=run", "--plain")
    process = pcsearch.start(*tune, "--runs", disk)
    journal = disk / "run" / "journal.jsonl"
    wait_for(lambda: len(epoch_events(read_journal(journal))) >= 3, process)
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(65536)):
            pass
    result = ended(process, timeout=60)
    assert result.code == 2, result
    assert "No space left on device" in result.err
    assert "resume with: pcsearch resume ../disk-0/run" in result.err
    assert "Traceback" not in result.out + result.err
    before = len(read_journal(journal))
    filler.unlink()
    resumed = pcsearch.run("resume", disk / "run", "--plain")
    assert resumed.code == 0, resumed
    events = read_journal(journal)
    assert len(events) > before
    assert events[-1] | {"t": 0} == {"event": "ended", "status": "complete", "t": 0}
