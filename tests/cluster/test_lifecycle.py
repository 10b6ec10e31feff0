"""What `pcsearch cluster up` and `down` say of campaigns that run, without any cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pcsearch.cli.app import app
from pcsearch.cluster import launcher as launch
from pcsearch.cluster.jobs import Job

FILE = str(Path(__file__).resolve().parents[2] / "clusters" / "on-premise.yaml")


def job(name: str, process: str | None = None) -> Job:
    return Job(name, "RUNNING", {}, "", None, 1.0, None, process)


@pytest.mark.parametrize(
    ("running", "told"),
    [
        ([job("one")], f"one still runs on {FILE}, .* with: pcsearch cluster stop {FILE}; or give"),
        (
            [job("01", "process 7 on head")],
            r"01 \(process 7 on head\) still runs .* with: Ctrl-C in its terminal.*; or give",
        ),
        (
            [job("01", "process 7 on head"), job("one")],
            rf"01 \(process 7 on head\), one still .*: Ctrl-C .*; and pcsearch .* stop {FILE};",
        ),
    ],
    ids=["submitted", "by --address", "both"],
)
def test_a_cluster_on_which_a_campaign_runs_is_not_ended(
    running: list[Job], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "running_campaigns", lambda cluster: running)
    ended: list[Path] = []
    monkeypatch.setattr(launch, "end", ended.append)
    result = CliRunner().invoke(app, ["cluster", "down", FILE, "--yes"])
    with pytest.raises(Exception, match=told):
        raise result.exception or AssertionError(result.output)
    assert ended == []


def test_force_ends_it_with_what_was_not_submitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "running_campaigns", lambda c: [job("01", "process 7 on head")])
    monkeypatch.setattr(launch, "stop_campaigns", lambda cluster, told: None)
    ended: list[Path] = []
    monkeypatch.setattr(launch, "end", ended.append)
    result = CliRunner().invoke(app, ["cluster", "down", FILE, "--yes", "--force"])
    assert result.exit_code == 0, result.output
    assert "01 (process 7 on head) was not submitted: it ends with its machine" in result.output
    assert ended == [Path(FILE)]
