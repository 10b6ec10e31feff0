"""`attach` and `stop` on runs that no process runs, or another process than a campaign."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pcsearch.runs.folder import new_run
from pcsearch.search.journal.journal_file import FileJournal
from tests.cli.campaigns import drive, plan, silent
from tests.cli.conftest import Command


def write_run(name: str, *, until: float = float("inf"), status: str = "") -> None:
    with (
        new_run(Path("runs"), name, "name: demo\n", {}) as folder,
        FileJournal(folder.journal) as journal,
    ):
        campaign = drive(plan(), listener=silent, until=until, journal=journal)
        if status:
            campaign.end(status)  # type: ignore[arg-type]


@pytest.mark.parametrize(("status", "code"), [("complete", 0), ("failed", 1), ("interrupted", 130)])
def test_attach_to_an_ended_run_prints_the_table_of_summary(
    command: Command, status: str, code: int
) -> None:
    write_run("first", status=status)
    ended, out, err = command("attach", "first")
    assert (ended, err) == (code, "")
    heading, _, table = out.partition("\n")
    assert heading.endswith(f"campaign {status}")
    told = command("summary", "first")[1]
    assert table.replace("interrupted; ", "") == told
    assert ("resume with: pcsearch resume runs/first" in out) == (status == "interrupted")


def test_attach_to_a_run_whose_process_is_gone_says_so(command: Command) -> None:
    write_run("first", until=5)
    Path("runs/first/output.log").touch()
    code, out, err = command("attach")
    assert code == 3
    assert "interrupted; resume with: pcsearch resume runs/first" in out
    assert f"process {os.getpid()} on" in err
    assert "is gone without an end; finished work is kept" in err
    assert "its output is in runs/first/output.log" in err


def test_stop_of_a_run_that_does_not_run_says_how_to_resume_it(command: Command) -> None:
    write_run("first", until=5)
    told = "runs/first is not running: it is interrupted; resume with: pcsearch resume runs/first"
    assert command("stop", "first") == (2, "", f"error: {told}\n")
    write_run("second", status="complete")
    assert command("stop", "second") == (
        2,
        "",
        "error: runs/second is not running: it is complete\n",
    )
    told = 'no run under "runs" is running; `pcsearch runs ls` lists them'
    assert command("stop") == (2, "", f"error: {told}\n")
    assert command("stop", "--runs", "elsewhere")[0] == 2
    assert command("attach", "--runs", "elsewhere")[0] == 2


def test_stop_takes_the_run_that_runs_and_no_process_of_another_host(command: Command) -> None:
    with new_run(Path("runs"), "live", "name: demo\n", {}) as folder:
        with FileJournal(folder.journal) as journal:
            drive(plan(), listener=silent, until=5, journal=journal)
        write_run("later", status="complete")
        driver = json.loads((folder.path / "driver.json").read_text())
        folder.write_json("driver.json", driver | {"host": "elsewhere"})
        code, out, err = command("stop")
        assert (code, out) == (2, "")
        told = f"the campaign runs as process {os.getpid()} on elsewhere; stop it there"
        assert told in err
        (folder.path / "driver.json").unlink()
        assert "driver.json does not name its process" in command("stop", "live")[2]
