"""`--detach`, `attach` and `stop`: through real processes, with real Ray where a campaign runs."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.e2e.cli import CommandLine, Started, ended, epoch_events, overrides, processes, wait_for

SIZES = {
    "datasets": ["digits"],
    "search": {"trials": 4, "arms": ["pc"]},
    "asha": {"max_epochs": 3, "grace_epochs": 1},
    "finalists": {"configs": 0, "repeats": 0},
    "confirm": {"seeds": 2, "epochs": 2},
    "resources": {"max_concurrent": 1},
}


def in_session_of(pid: int) -> bool:
    """Whether a process leads a session of its own."""
    return os.getsid(pid) == pid


def lines_of(process: Started) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_a_mistake_is_told_as_in_the_foreground(pcsearch: CommandLine) -> None:
    for words in (
        ["tune", "nonesuch"],
        ["tune", "quickstart", "search.trails=3"],
        ["tune", "quickstart", "--name", "no/name"],
        ["resume", "nonesuch"],
    ):
        plain = pcsearch.run(*words)
        detached = pcsearch.run(*words, "--detach")
        assert plain.code == 2
        assert (detached.code, detached.out, detached.err) == (plain.code, plain.out, plain.err)
    assert not list(pcsearch.folder.iterdir())


@pytest.mark.slow
def test_a_campaign_outlives_its_terminal_is_followed_stopped_and_resumed(
    pcsearch: CommandLine,
) -> None:
    sizes = overrides(**SIZES | {"asha": {"max_epochs": 60, "grace_epochs": 60}})
    begun = pcsearch.run("tune", "quickstart", *sizes, "--name", "first", "--detach", "--events")
    assert begun.code == 0, begun
    *_, started, detached = map(json.loads, begun.out.splitlines())
    assert started["pcsearch"] == "started"
    assert detached["pcsearch"] == "detached"
    assert (detached["run"], detached["log"]) == ("runs/first", "runs/first/output.log")
    assert pcsearch.events("first")[0]["event"] == "campaign", "on disk when the command returns"
    pid = detached["pid"]
    try:
        assert in_session_of(pid)
        os.kill(pid, signal.SIGHUP)  # as a closed terminal sends it
        again = pcsearch.run("tune", "quickstart", *sizes, "--name", "first", "--detach")
        assert again.code == 2
        assert f"process {pid} on" in again.err
        assert pcsearch.run("resume", "first", "--detach").code == 2

        (row,) = json.loads(pcsearch.run("runs", "ls", "--json").out)
        assert (row["name"], row["status"]) == ("first", "running")
        follower = pcsearch.start("attach", "--plain")
        assert "trial at once, in runs/first" in lines_of(follower)
        wait_for(lambda: epoch_events(pcsearch.events("first")), follower)
        follower.send_signal(signal.SIGINT)
        left = ended(follower)
        assert left.code == 130
        assert (
            "the campaign continues\nFollow it again with: pcsearch attach runs/first" in left.out
        )
        assert pcsearch.summary("first")["status"] == "running"

        second = pcsearch.start("attach", "--plain")
        assert "trial at once, in runs/first" in lines_of(second)
        stopped = pcsearch.run("stop")
        assert stopped.code == 0, stopped
        assert "runs/first: interrupted\nresume with: pcsearch resume runs/first" in stopped.out
        assert not any(process.pid == pid for process in processes())
        assert ended(second).code == 130
    finally:
        if any(process.pid == pid for process in processes()):
            os.kill(pid, signal.SIGKILL)
    log = (pcsearch.folder / "runs/first/output.log").read_text().splitlines()
    assert {json.loads(line)["pcsearch"] for line in log} >= {"started", "event", "finished"}


@pytest.mark.slow
def test_a_resumed_campaign_runs_detached_to_its_end(pcsearch: CommandLine) -> None:
    process = pcsearch.start(
        "tune", "quickstart", *overrides(**SIZES), "--name", "first", "--plain"
    )
    wait_for(lambda: epoch_events(pcsearch.events("first")), process)
    process.kill()
    ended(process)
    assert pcsearch.run("attach", "first").code == 3
    begun = pcsearch.run("resume", "first", "--detach")
    assert begun.code == 0, begun
    assert "Follow it with: pcsearch attach runs/first\n" in begun.out
    followed = pcsearch.run("attach")
    assert followed.code == 0, followed
    assert followed.out.count("campaign complete") == 1
    table = pcsearch.run("summary", "first").out
    assert followed.out.endswith(table)
    log = Path(pcsearch.folder / "runs/first/output.log").read_text()
    assert log.endswith(table)
    nothing = pcsearch.run("resume", "first", "--detach")
    assert nothing.code == 0
    assert "nothing is left to run" in nothing.out
    assert nothing.out.endswith(table)
