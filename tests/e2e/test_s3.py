"""Runs in an object store: the real command, real Ray, a real S3 server in a process of its own."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Sequence
from typing import Any

import pytest
from PIL import Image

from pcsearch.runs.segmented_journal import read_segments
from pcsearch.search.journal.journal_file import sealed
from pcsearch.storage import Storage, open_storage
from tests.e2e.cli import CommandLine, ended, epoch_events, wait_for
from tests.e2e.test_own_code import NETWORK
from tests.e2e.test_own_code import SMALL as OWN
from tests.e2e.test_resume import SMALL, attempts, history
from tests.e2e.test_resume import whole as whole
from tests.storage.conftest import bucket as bucket
from tests.storage.conftest import network as network
from tests.storage.conftest import s3_port as s3_port
from tests.storage.network import Network

pytest.importorskip("boto3", reason="needs boto3: pip install 'pcsearch[aws]'")
pytest.importorskip("moto", reason="needs moto, which is an S3 server")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TUNE = ("tune", *SMALL, "--name=run", "--plain")
AWAY_SECONDS = 60
"""Longer than a worker is patient with a checkpoint, shorter than a driver with its journal."""


@pytest.fixture
def runs(bucket: str) -> str:
    return f"s3://{bucket}/some/runs"


@pytest.fixture
def run(runs: str) -> Storage:
    return open_storage(f"{runs}/run")


def events(run: Storage) -> list[dict[str, Any]]:
    return [dict(event) for event in read_segments(run)]


def studies(summary: dict[str, Any]) -> Any:
    return [
        {key: value for key, value in study.items() if key != "seconds"}
        for study in summary["studies"]
    ]


def assert_whole(run: Storage, pcsearch: CommandLine, whole: CommandLine) -> None:
    """It is what a local run would have been, and only what belongs to it is left."""
    assert history(events(run)) == history(whole.events("run"))
    summary = pcsearch.summary(run.url)
    assert summary["status"] == "complete"
    assert studies(summary) == studies(whole.summary("run"))
    assert summary["interruptions"]["differing_epochs"] == 0
    left = run.list()
    assert {"recipe.yaml", "environment.json", "driver.json", "summary.json"} <= set(left)
    assert "weights/digits.compact_cnn.pc.safetensors" in left
    assert not of_folder(left, "checkpoints") + of_folder(left, "lock")
    assert sum("compacted" in name for name in of_folder(left, "journal")) == 1
    assert list((pcsearch.cache / "scratch").glob("scratch-*/run")) == []
    written = pcsearch.run("report", run.url)
    assert (written.code, written.out) == (0, "run-report.html: written (complete)\n")
    page = (pcsearch.folder / "run-report.html").read_text()
    assert run.url in page
    assert "<figure" in page
    assert "name: quickstart" in page, "the recipe, which lies there, too"


def of_folder(names: Sequence[str], folder: str) -> list[str]:
    return [name for name in names if name.startswith(f"{folder}/")]


def test_a_run_in_a_bucket_is_the_run_in_a_folder(
    pcsearch: CommandLine, whole: CommandLine, runs: str, run: Storage
) -> None:
    process = pcsearch.start(*TUNE, "--runs", runs)
    wait_for(lambda: epoch_events(events(run)), process)
    taken = pcsearch.run(*TUNE, "--runs", runs)
    assert taken.code == 2
    assert f"{run.url} already exists" in taken.err
    second = pcsearch.run("resume", run.url)
    assert second.code == 2
    assert f"process {process.pid} on " in second.err
    assert "runs it now" in second.err
    result = ended(process)
    assert result.code == 0, result
    assert_whole(run, pcsearch, whole)
    table = pcsearch.run("summary", "--runs", runs)
    assert table.code == 0, table
    (row,) = json.loads(pcsearch.run("runs", "ls", "--runs", runs, "--json").out)
    assert (row["name"], row["path"], row["status"]) == ("run", run.url, "complete")
    again = pcsearch.run("resume", "run", "--runs", runs, "--plain")
    assert again.code == 0, again
    assert_whole(run, pcsearch, whole)
    Image.new("RGB", (9, 9), (200, 30, 30)).save(pcsearch.folder / "one.png")
    one = str(pcsearch.folder / "one.png")
    stored = pcsearch.run("predict", run.url, one, "--json")
    assert stored.code == 0, stored
    assert json.loads(stored.out) == json.loads(whole.run("predict", "run", one, "--json").out)
    assert pcsearch.run(*TUNE, "--runs", runs).code == 2
    assert not (pcsearch.folder / "s3:").exists()


def test_a_killed_driver_and_a_stopped_one_are_gone_on_with(
    pcsearch: CommandLine, whole: CommandLine, run: Storage, runs: str
) -> None:
    process = pcsearch.start(*TUNE, "--runs", runs)
    wait_for(lambda: len(epoch_events(events(run))) >= 4, process)
    process.kill()
    ended(process)
    process = pcsearch.start("resume", run.url, "--plain")
    seen = len(epoch_events(events(run)))
    wait_for(lambda: len(epoch_events(events(run))) > seen, process)
    assert attempts(events(run)) == 1
    process.send_signal(signal.SIGINT)
    result = ended(process, timeout=60)
    assert result.code == 130, result
    assert f"resume with: pcsearch resume {run.url}" in result.out
    assert not run.exists("checkpoints/stopping")
    repeated = pcsearch.summary(run.url)["interruptions"]["repeated_epochs"]
    result = pcsearch.run("resume", "--runs", runs, "--plain")
    assert result.code == 0, result
    assert_whole(run, pcsearch, whole)
    assert pcsearch.summary(run.url)["interruptions"]["repeated_epochs"] == repeated


def test_a_driver_that_wakes_up_after_another_took_over_stops(
    pcsearch: CommandLine, whole: CommandLine, run: Storage, runs: str
) -> None:
    asleep = pcsearch.start(*TUNE, "--runs", runs)
    wait_for(lambda: len(epoch_events(events(run))) >= 3, asleep)
    asleep.send_signal(signal.SIGSTOP)
    run.remove_all("lock")  # as somebody would who does not want to wait for half a minute
    run.remove_all("driver.json")
    process = pcsearch.start("resume", run.url, "--plain")
    wait_for(lambda: run.exists("driver.json"), process)
    time.sleep(1)  # it has read the journal, and starts Ray: what was under way arrives now
    before = events(run)
    late = [event for event in whole.events("run") if history([event])][len(history(before))]
    head = json.loads(run.read(f"journal/{len(before):08}.jsonl"))["seal"]
    assert run.create(f"journal/{len(before) + 1:08}.jsonl", sealed(late, head)[0])
    wait_for(lambda: attempts(events(run)), process)
    assert events(run)[len(before) + 1]["event"] == "resumed"
    asleep.send_signal(signal.SIGCONT)
    stopped = ended(asleep, timeout=60)
    assert stopped.code == 3, stopped
    assert "another process continues this campaign" in stopped.err or "lock" in stopped.err
    assert "Traceback" not in stopped.out + stopped.err
    result = ended(process)
    assert result.code == 0, result
    assert_whole(run, pcsearch, whole)


def test_while_the_server_is_away_the_campaign_waits(
    pcsearch: CommandLine, whole: CommandLine, run: Storage, runs: str, network: Network
) -> None:
    process = pcsearch.start(*TUNE, "--runs", runs)
    wait_for(lambda: len(epoch_events(events(run))) >= 3, process)
    network.switch_off()
    time.sleep(AWAY_SECONDS)
    assert process.poll() is None
    network.switch_on()
    result = ended(process)
    assert result.code == 0, result
    assert_whole(run, pcsearch, whole)
    assert not [event for event in events(run) if event["event"] in ("retried", "failed")]


def test_ctrl_c_while_the_server_is_away_does_not_wait_for_it(
    pcsearch: CommandLine, whole: CommandLine, network: Network, run: Storage, runs: str
) -> None:
    process = pcsearch.start(*TUNE, "--runs", runs)
    wait_for(lambda: len(epoch_events(events(run))) >= 3, process)
    network.switch_off()
    time.sleep(3)  # the driver waits for its journal
    process.send_signal(signal.SIGINT)
    result = ended(process, timeout=60)
    assert result.code == 3, result
    assert f"resume with: pcsearch resume {run.url}" in " ".join(result.err.split())
    network.switch_on()
    result = pcsearch.run("resume", run.url, "--plain")
    assert result.code == 0, result
    assert_whole(run, pcsearch, whole)


def test_what_cannot_work_is_told_before_anything_starts(
    pcsearch: CommandLine, runs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = pcsearch.run(*TUNE, "--runs", "s3://no-such-bucket-here/runs")
    assert missing.code == 2
    assert "there is no such bucket" in missing.err
    unknown = pcsearch.run("resume", f"{runs}/nothing")
    assert unknown.code == 2
    assert 'there is no run "nothing" under ' in unknown.err
    other = pcsearch.run(*TUNE, "--runs", "gs://bucket/runs")
    assert other.code == 2
    assert "runs are kept in a folder or under s3://bucket/prefix" in other.err
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    nobody = pcsearch.run(*TUNE, "--runs", runs)
    assert nobody.code == 2
    assert "Set AWS_ACCESS_KEY_ID" in nobody.err
    for result in (missing, unknown, other, nobody):
        assert len(result.err.splitlines()) == 1, result
    assert list(pcsearch.folder.iterdir()) == []


def test_a_network_of_ones_own_in_a_bucket(pcsearch: CommandLine, run: Storage, runs: str) -> None:
    """Its name, `module:function`, is part of the names of files."""
    (pcsearch.folder / "my_models.py").write_text(NETWORK)
    code = ("backbones=[my_models:net]", "weights=none", "--allow-code", "my_models")
    result = pcsearch.run("tune", "quickstart", *OWN, *code, "--runs", runs, "--name=run")
    assert result.code == 0, result
    left = run.list()
    assert "weights/digits.my_models~net.pc.safetensors" in left
    assert not of_folder(left, "checkpoints")
    (study,) = pcsearch.summary(run.url)["studies"]
    assert study["analysis"]["problems"] == []
    assert len(study["analysis"]["arms"]["pc"]["seeds"]) == 1
    shown = pcsearch.run("show", run.url, "digit 7", timeout=60)
    assert (shown.code, shown.err) == (0, ""), shown
    assert "2 networks predict it" in shown.out
