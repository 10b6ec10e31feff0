"""`pcsearch tune --cluster`: what it refuses, asks, and does with the machines; without Ray.

test_launch.py runs it through SSH, test_autoscaling.py on a cluster that grows.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from pcsearch.cli import ctrl_c
from pcsearch.cli.app import app
from pcsearch.cli.cluster.lifecycle import ask
from pcsearch.cli.cluster.tune import _finish, _question
from pcsearch.cluster import launcher as launch
from pcsearch.cluster.files.storage import outlives_machines
from pcsearch.cluster.jobs import Job
from pcsearch.errors import UserError
from pcsearch.recipe.load import load_recipe

ROOT = Path(__file__).resolve().parents[2]
FILE = str(ROOT / "clusters" / "on-premise.yaml")
PRICES = {"head": 0.10, "gpu-spot": 0.45, "gpu-on-demand": 1.01}


def refusal(*words: str) -> str:
    result = CliRunner().invoke(app, ["tune", *words])
    assert isinstance(result.exception, UserError), result.output
    return str(result.exception)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--address=auto"], "--address joins a cluster that runs, and --cluster starts one"),
        (["--hours=2"], "set budget.hours=H with --cluster"),
        ([], "give a place for the runs: --runs s3://BUCKET/PREFIX"),
        (["--runs=runs"], "--runs is runs, a folder of this machine"),
        (["--runs=/r", "data.root=data", "datasets=[cub200]"], "data.root is data, relative to"),
        (["--runs=/r", "--images=birds", "datasets=[images]"], "data.images is birds, relative to"),
    ],
)
def test_what_makes_no_sense_on_a_cluster(
    words: list[str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PCSEARCH_RUNS", "/runs/of/this/machine")
    message = refusal("quickstart", "--cluster", FILE, *words)
    assert message.startswith(told) or told in message
    assert len(message.splitlines()) == 1


def test_options_for_a_cluster_need_one() -> None:
    lines = refusal("quickstart", "--down", "--yes", "--price=head=1").splitlines()
    assert len(lines) == 3
    assert all(line.endswith("it needs --cluster FILE") for line in lines)


def test_an_address_cannot_be_ended() -> None:
    message = refusal("quickstart", "--cluster=127.0.0.1:1", "--runs=/r")
    assert "a dashboard's address begins with http://" in message
    message = refusal("quickstart", "--cluster=http://127.0.0.1:1", "--runs=/r", "--down")
    assert message.startswith("--down needs a file of Ray's launcher, but http://127.0.0.1:1 is")


@pytest.fixture
def aws() -> dict[str, Any]:
    """`cluster.yaml`: a head, six workers on spot and two on demand."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    return loaded


@pytest.mark.parametrize(
    ("prices", "overrides", "told"),
    [
        (PRICES, [], "They cost 4.82 an hour at most."),  # 0.10 + 6 × 0.45 + 2 × 1.01
        (PRICES, ["budget.hours=10"], "quickstart plans 10 h (budget.hours): 48.20 at most."),
        ({}, [], "Their price is unknown; --price head=P --price gpu-spot=P"),
        ({"head": 1}, [], "Their price is unknown; --price gpu-spot=P --price gpu-on-demand=P"),
        (
            {},
            ["budget.cost=20", "budget.price_per_node_hour=0.5"],
            "The workers cost 4.00 an hour at most (budget.price_per_node_hour); the head's price "
            "comes on top. quickstart plans to spend 20.00 on workers (budget.cost).",
        ),
    ],
)
def test_the_question_has_the_price_at_most(
    prices: dict[str, float], overrides: list[str], told: str, aws: dict[str, Any]
) -> None:
    question = _question("c.yaml", aws, [load_recipe("quickstart", overrides)], prices)
    assert question.startswith("Start the machines of c.yaml? ")
    assert told in question


def test_existing_machines_have_no_price() -> None:
    config = yaml.safe_load(Path(FILE).read_text())
    asked = _question("c.yaml", config, [load_recipe("quickstart", ["budget.hours=10"])], {})
    assert asked == "Start the machines of c.yaml?"


def test_runs_that_would_end_with_the_machines(aws: dict[str, Any]) -> None:
    assert outlives_machines(aws, "s3://bucket/runs")
    assert not outlives_machines(aws, "/home/ubuntu/runs")
    aws["setup_commands"].append("sudo mount -t nfs -o hard files:/share /shared")
    assert outlives_machines(aws, "/shared/runs")
    assert not outlives_machines(aws, "/home/ubuntu/runs")
    assert outlives_machines(yaml.safe_load(Path(FILE).read_text()), "/home/ubuntu/runs")


def test_without_a_terminal_it_is_not_asked() -> None:
    with pytest.raises(UserError, match="cannot ask without a terminal; give --yes"):
        ask("Start?", False, "nothing was started")
    ask("Start?", True, "nothing was started")


@pytest.mark.parametrize(
    ("typed", "ends", "told"),
    [
        (b"y\n", None, ""),
        (b"n\n", typer.Exit, "nothing was started"),
        (b"\x04", KeyboardInterrupt, ""),  # as after Ctrl-C, which Typer reports in the same way
    ],
)
def test_the_answers_of_a_person(
    typed: bytes,
    ends: type[BaseException] | None,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keyboard, terminal = os.openpty()
    with os.fdopen(terminal) as stdin, os.fdopen(keyboard, "wb", buffering=0) as keys:
        monkeypatch.setattr(sys, "stdin", stdin)
        keys.write(typed)
        with contextlib.nullcontext() if ends is None else pytest.raises(ends):
            ask("Start?", False, "nothing was started")
    assert told in capsys.readouterr().err


def job(name: str, status: str = "RUNNING") -> Job:
    return Job(name, status, {}, "", None, 1.0, None)


@pytest.mark.parametrize(
    ("mine", "others", "down", "code", "told", "ended"),
    [
        ("SUCCEEDED", [], True, 0, "is down", True),
        ("FAILED", [], True, 1, "is down", True),
        ("SUCCEEDED", [], False, 0, f"run, and cost money, until: pcsearch cluster down {FILE}", 0),
        ("RUNNING", [], True, 130, "--down ended nothing: the machines of", False),
        ("SUCCEEDED", [job("two")], True, 0, f"two still runs on {FILE}. --down ended nothing", 0),
    ],
    ids=["done", "failed", "without --down", "Ctrl-C", "another campaign"],
)
def test_what_becomes_of_the_machines(
    mine: str,
    others: list[Job],
    down: bool,
    code: int,
    told: str,
    ended: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And the exit code is the campaign's."""
    following: Any = SimpleNamespace(job=job("one", mine))
    monkeypatch.setattr(launch, "running_campaigns", lambda cluster: [*others])
    files: list[Path] = []
    monkeypatch.setattr(launch, "end", files.append)
    with ctrl_c.told_as("") as ending:
        left = _finish(FILE, following, typer.Exit(code), down, ending)
    assert left.exit_code == code
    assert told in capsys.readouterr().out
    assert files == ([Path(FILE)] if ended else [])


@pytest.mark.parametrize(("code", "wanted"), [(0, 2), (1, 1)])
def test_machines_that_could_not_be_ended(
    code: int, wanted: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(file: Path) -> None:
        raise UserError("the cluster was not ended (no network)")

    monkeypatch.setattr(launch, "running_campaigns", lambda cluster: [])
    monkeypatch.setattr(launch, "end", refused)
    following: Any = SimpleNamespace(job=job("one", "SUCCEEDED"))
    with ctrl_c.told_as("") as ending:
        assert _finish(FILE, following, typer.Exit(code), True, ending).exit_code == wanted
    err = capsys.readouterr().err
    assert err.startswith("error: the cluster was not ended (no network)\n")
    assert f"run, and cost money, until: pcsearch cluster down {FILE}" in err


def test_a_file_that_was_changed_since_the_start(tmp_path: Path, home: Path) -> None:
    """The cluster file, or the wheel that it copies."""
    wheel, file = tmp_path / "a.whl", tmp_path / "cluster.yaml"
    wheel.write_text("one")
    file.write_text(f"provider: {{type: local, head_ip: h}}\nfile_mounts: {{~/a.whl: {wheel}}}\n")
    assert not launch.changed_since_start(file)  # started elsewhere, if at all
    launch.record_start(file)
    assert not launch.changed_since_start(file)
    wheel.write_text("two")
    assert launch.changed_since_start(file)
