"""Stopped and widened campaigns go on: the real command, real Ray, real signals.

Drivers, workers and Ray's processes killed at random moments are in test_soak.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cli import (
    CommandLine,
    Result,
    descendants,
    ended,
    epoch_events,
    overrides,
    wait_for,
    workers,
)
from tests.search.journals import write_events

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

HISTORY = ("asked", "epoch", "failed", "diverged", "chosen", "given_up", "looked")
SMALL = (
    "quickstart",
    "datasets=[digits]",
    "data.classes=[1, 7, 8, 9]",
    "image.per_dataset={digits: {resize: 40, crop: 32}}",  # at 16 pixels it ends too soon
    *overrides(
        search={"trials": 3},
        asha={"max_epochs": 6, "grace_epochs": 2, "reduction_factor": 2, "full_trainings": 1},
        finalists={"configs": 1, "repeats": 1},
        confirm={"seeds": 2, "epochs": 3},
        resources={"max_concurrent": 1},
    ),
)


def history(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was asked, measured and decided, in order; without what the clock says."""
    return [
        {key: value for key, value in event.items() if key not in ("t", "seconds")}
        for event in events
        if event["event"] in HISTORY
    ]


def attempts(events: list[dict[str, Any]]) -> int:
    return sum(event["event"] == "resumed" for event in events)


def resume(pcsearch: CommandLine, run: str, *arguments: str) -> Result:
    result = pcsearch.run("resume", run, *arguments, "--plain")
    assert "Traceback" not in result.out + result.err, result
    return result


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, cache: Any) -> CommandLine:
    """The small campaign, one trial at a time, never interrupted."""
    command = CommandLine(tmp_path_factory.mktemp("whole"), cache)
    result = command.run("tune", *SMALL, "--name=run", "--plain")
    assert result.code == 0, result
    return command


def test_ctrl_c_loses_at_most_the_running_epoch_and_says_how_to_go_on(
    pcsearch: CommandLine, whole: CommandLine
) -> None:
    process = pcsearch.start("tune", *SMALL, "--name=run", "--plain")
    wait_for(lambda: len(epoch_events(pcsearch.events("run"))) >= 3, process)
    process.send_signal(signal.SIGINT)
    result = ended(process, timeout=30)
    assert result.code == 130, result
    assert result.seconds < 10
    assert "resume with: pcsearch resume runs/run" in result.out
    assert not (pcsearch.folder / "runs/run/checkpoints/stopping").exists()
    before = len(epoch_events(pcsearch.events("run")))
    result = resume(pcsearch, "runs/run")
    assert result.code == 0, result
    events = pcsearch.events("run")
    assert history(events) == history(whole.events("run"))
    assert len(epoch_events(events)) > before
    weights = "runs/run/weights/digits.compact_cnn.pc.safetensors"
    assert (pcsearch.folder / weights).read_bytes() == (whole.folder / weights).read_bytes()
    assert "The campaign was resumed" in result.out
    summary, expected = pcsearch.summary("run"), whole.summary("run")
    for study in (*summary["studies"], *expected["studies"]):
        study.pop("seconds")
    assert summary["studies"] == expected["studies"]
    lost = summary["interruptions"]
    assert lost["resumed"] == attempts(events) == 1
    assert lost["repeated_epochs"] == lost["differing_epochs"] == 0


@pytest.mark.parametrize(
    "settings",
    [
        ("image.rand_augment=9", "train.sampling=balanced", "train.class_weights={9: 3}"),
        ("image.trivial_augment=true", "train.class_weights=balanced"),
    ],
)
def test_augmentations_and_class_weights_go_on_bit_for_bit(
    pcsearch: CommandLine, whole: CommandLine, settings: tuple[str, ...]
) -> None:
    given = ("tune", *SMALL, "image.random_resized_crop=0.3", *settings, "--plain")
    result = pcsearch.run(*given, "--name=whole")
    assert result.code == 0, result
    process = pcsearch.start(*given, "--name=run")
    wait_for(lambda: len(epoch_events(pcsearch.events("run"))) >= 3, process)
    process.send_signal(signal.SIGINT)
    assert ended(process).code == 130
    result = resume(pcsearch, "runs/run")
    assert result.code == 0, result
    assert attempts(pcsearch.events("run")) == 1
    assert history(pcsearch.events("run")) == history(pcsearch.events("whole"))
    assert history(whole.events("run")) != history(pcsearch.events("whole"))


def test_another_optuna_is_told_of(pcsearch: CommandLine) -> None:
    process = pcsearch.start("tune", *SMALL, "search.trials=40", "--name=run", "--plain")
    wait_for(lambda: epoch_events(pcsearch.events("run")), process)
    process.send_signal(signal.SIGINT)
    assert ended(process).code == 130
    journal = pcsearch.folder / "runs/run/journal.jsonl"
    events = pcsearch.events("run")
    now = events[0]["plan"]["sampler_version"]
    events[0]["plan"]["sampler_version"] = "optuna 4.5.0"
    write_events(journal, events)
    process = pcsearch.start("resume", "run", "--plain")
    wait_for(lambda: attempts(pcsearch.events("run")), process)
    process.send_signal(signal.SIGINT)
    result = ended(process)
    assert f"began with optuna 4.5.0, but {now} proposes" in result.out + result.err
    resumed = next(e for e in pcsearch.events("run") if e["event"] == "resumed")
    assert resumed["sampler_version"] == now


def test_what_was_edited_by_hand_is_not_resumed(pcsearch: CommandLine, whole: CommandLine) -> None:
    run = pcsearch.folder / "runs/run"
    shutil.copytree(whole.folder / "runs/run", run)
    journal, recipe = run / "journal.jsonl", run / "recipe.yaml"
    lines, stated = journal.read_text().splitlines(keepends=True)[:9], recipe.read_text()
    journal.write_text("".join(lines))
    recipe.write_text(stated.replace("\n  seed: 0\n", "\n  seed: 5\n", 1))
    result = pcsearch.run("resume", "run")
    assert result.code == 2, result
    assert "recipe.yaml and the journal of this run differ in seed" in result.err
    recipe.write_text(stated)
    number = next(n for n, line in enumerate(lines) if '"event":"epoch"' in line)
    event = json.loads(lines[number])
    lines[number] = json.dumps(event | {"value": event["value"] + 20}) + "\n"
    journal.write_text("".join(lines))
    result = pcsearch.run("resume", "run")
    assert result.code == 2, result
    assert f"line {number + 1} of the journal ({event['trial']}): " in result.err
    assert "Traceback" not in result.err
    assert journal.read_text() == "".join(lines)
    told = pcsearch.summary("run")["mismatches"]
    assert {"its seal does not fit: it was changed, or a line before it is gone",
            f"epoch 1 has the value {event['value'] + 20}, but its val_top1 is {event['value']}",
            } <= {one["what"] for one in told if one["line"] == number + 1}  # fmt: skip


def test_nothing_is_left_to_do_of_a_campaign_that_ended(whole: CommandLine) -> None:
    before = (whole.folder / "runs/run/journal.jsonl").read_bytes()
    (whole.folder / "runs/run/summary.json").unlink()
    result = resume(whole, "run")
    assert result.code == 0
    assert result.seconds < 5
    assert (whole.folder / "runs/run/journal.jsonl").read_bytes() == before
    assert (whole.folder / "runs/run/summary.json").is_file()


def test_a_second_driver_is_refused_and_a_stale_lock_taken_over(pcsearch: CommandLine) -> None:
    process = pcsearch.start("tune", *SMALL, "search.trials=40", "--name=run", "--plain")
    wait_for(lambda: epoch_events(pcsearch.events("run")), process)
    second = pcsearch.run("resume", "run")
    assert second.code == 2
    assert f"process {process.pid} on {os.uname().nodename} runs it now" in second.err
    process.kill()
    ended(process)
    assert (pcsearch.folder / "runs/run/driver.lock").exists()
    process = pcsearch.start("resume", "run", "--plain")
    wait_for(lambda: attempts(pcsearch.events("run")), process)
    owner = json.loads((pcsearch.folder / "runs/run/driver.json").read_text())
    assert owner["pid"] == process.pid
    process.send_signal(signal.SIGINT)
    assert ended(process).code == 130


def test_ray_itself_dies(pcsearch: CommandLine, whole: CommandLine) -> None:
    process = pcsearch.start("tune", *SMALL, "--name=run", "--plain")
    wait_for(lambda: epoch_events(pcsearch.events("run")), process)
    (found,) = [p for p in descendants(process.pid) if p.command.split(" ")[0].endswith("raylet")]
    os.kill(found.pid, signal.SIGKILL)
    result = ended(process, timeout=30)
    assert result.code == 3, result
    assert "Traceback" not in result.out + result.err
    assert "Ray on this machine ended unexpectedly" in result.out
    assert "Resume with: pcsearch resume runs/run" in result.out
    assert pcsearch.summary("run")["status"] in ("interrupted", "complete")
    assert resume(pcsearch, "run").code == 0
    assert history(pcsearch.events("run")) == history(whole.events("run"))


def test_a_machine_that_goes_down_with_two_trials_loses_none(
    pcsearch: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is killed at once, and nothing of Ray is left, as after a reboot; twice."""
    temporary = Path(tempfile.mkdtemp(prefix="t-"))  # sockets have short paths
    monkeypatch.setenv("TMPDIR", str(temporary))
    command: tuple[str, ...] = ("tune", *SMALL, "resources.max_concurrent=2", "--name=run")
    for epochs in (3, 12):
        temporary.mkdir(exist_ok=True)
        process = pcsearch.start(*command, "--plain")
        wait_for(lambda n=epochs: len(epoch_events(pcsearch.events("run"))) >= n, process)
        machine = [process.pid, *(child.pid for child in descendants(process.pid))]
        for pid in machine:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert ended(process).code == -signal.SIGKILL
        shutil.rmtree(temporary)
        command = ("resume", "run")
    temporary.mkdir()
    assert resume(pcsearch, "run").code == 0
    shutil.rmtree(temporary)
    events = pcsearch.events("run")
    asked = [event["spec"]["trial"] for event in events if event["event"] == "asked"]
    taken = [(event["trial"], event["epoch"]) for event in epoch_events(events)]
    assert len(asked) == len(set(asked))
    assert len(taken) == len(set(taken))
    summary = pcsearch.summary("run")
    assert (summary["status"], summary["interruptions"]["resumed"]) == ("complete", 2)
    assert {row["state"] for row in pcsearch.trials("run")} <= {"COMPLETE", "PRUNED"}
    assert [event for event in events if event["event"] == "failed"] == []


def test_a_hung_worker_is_ended_and_its_trial_begun_again(
    pcsearch: CommandLine, whole: CommandLine
) -> None:
    process = pcsearch.start("tune", *SMALL, "--name=run", "--plain")
    wait_for(lambda: len(epoch_events(pcsearch.events("run"))) >= 2, process)
    (victim,) = wait_for(lambda: workers(process.pid), process)
    os.kill(victim.pid, signal.SIGSTOP)
    result = ended(process, timeout=200)
    assert result.code == 0, result
    events = pcsearch.events("run")
    (retried,) = [event for event in events if event["event"] == "retried"]
    assert retried["kind"] == "hang"
    assert "no epoch for" in retried["reason"]
    assert history(events) == history(whole.events("run"))
    assert not victim.is_alive


def test_a_campaign_becomes_wider(pcsearch: CommandLine) -> None:
    """Also from no confirm seeds, without which the test images are not even counted."""
    result = pcsearch.run("tune", *SMALL, "confirm.seeds=0", "--name=run", "--plain")
    assert result.code == 0, result
    before = pcsearch.events("run")
    refused = pcsearch.run("resume", "run", "image.crop=20", "search.trials=2", "data.split_seed=3")
    assert refused.code == 2
    for reason in ("image.crop", "search.trials: is 3 and cannot become 2", "data.split_seed"):
        assert reason in refused.err
    assert pcsearch.events("run") == before
    result = resume(pcsearch, "run", "search.trials=5", "confirm.seeds=3")
    assert result.code == 0, result
    rows = pcsearch.trials("run")
    for arm in ("control", "pc"):
        mine = [row for row in rows if row["arm"] == arm]
        assert sum(row["phase"] == "search" for row in mine) == 5
        assert sum(row["phase"] == "confirm" for row in mine) >= 3
    assert pcsearch.events("run")[: len(before)] == before
    assert "trials: 5" in (pcsearch.folder / "runs/run/recipe.yaml").read_text()
    study = pcsearch.summary("run")["studies"][0]
    assert len(study["arms"]["pc"]["test_top1"]["seeds"]) == 3
    recipe = pcsearch.folder / "runs/run/recipe.yaml"
    recipe.write_text(recipe.read_text().replace("trials: 5", "trials: 3"))  # as if killed before
    assert resume(pcsearch, "run").code == 0
    assert "trials: 5" in recipe.read_text(), "as the journal has it"


def test_a_driver_that_died_before_its_first_line_begins_anew(
    pcsearch: CommandLine, whole: CommandLine
) -> None:
    run = pcsearch.folder / "runs" / "run"
    run.mkdir(parents=True)
    (run / "recipe.yaml").write_bytes((whole.folder / "runs/run/recipe.yaml").read_bytes())
    (run / "journal.jsonl").write_bytes(b'{"event": "camp')
    process = pcsearch.start("resume", "run", "budget.hours=50", "--plain")
    wait_for(lambda: pcsearch.events("run"), process)
    assert "hours: 50" in (run / "recipe.yaml").read_text(), "as the journal's first line has it"
    ended(process)
    assert process.returncode == 0
    assert history(pcsearch.events("run")) == history(whole.events("run"))
