"""Campaigns as jobs of a cluster: submitted, followed, left, found again, stopped, gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import ray

from tests.cluster.heads import (
    ANOTHER_RAY,
    TOKEN,
    Head,
    another_ray,
    clean_environment,
    commands,
    free_port,
    running_head,
)
from tests.e2e.cli import Started, overrides
from tests.e2e.prefork import server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CANARY = "canary-0451-do-not-tell"
SMALL = ["quickstart", "datasets=[digits]"]
SMALL += overrides(
    search={"trials": 1, "control": "none"},
    asha={"max_epochs": 2, "grace_epochs": 1},
    finalists={"configs": 0, "repeats": 0},
    confirm={"seeds": 2, "epochs": 1},
)
LONG = [*SMALL, "backbones=[sleepy:net]", "data.classes=[1, 7]", "search.trials=2"]
OWN = ["--allow-code", "sleepy"]
LONGER = ["asha.max_epochs=200", "asha.grace_epochs=190"]
LONG += ["asha.max_epochs=30", "asha.grace_epochs=25"]
SLEEPY = """
import time
from torch import nn

class Sleepy(nn.Module):
    \"\"\"Takes 0.4 s an epoch, on any machine.\"\"\"

    def __init__(self, num_classes):
        super().__init__()
        self.layers = nn.Sequential(
            nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, num_classes)
        )

    def forward(self, images):
        time.sleep(0.05)
        return self.layers(images)

def net(num_classes):
    return Sleepy(num_classes)
"""


@dataclass(frozen=True)
class Site:
    """A cluster's dashboard, and a laptop that talks to it."""

    head: Head
    dashboard: str
    runs: Path
    laptop: Path

    def start(self, command: str, *arguments: str, **environment: str) -> Started:
        """Start a cluster command as a person would, with credentials in the environment.

        And with RAY_ADDRESS, which Ray's own clients would follow to another cluster.
        """
        own = {"AWS_SECRET_ACCESS_KEY": CANARY, "PCSEARCH_TEST_SECRET": CANARY}
        own |= {"RAY_ADDRESS": "http://127.0.0.1:1"} | environment
        own = {**self.head.environment, **own}
        all_of_it = ["cluster", command, self.dashboard, *arguments]
        if "PYTHONPATH" not in environment:
            return server().start(all_of_it, self.laptop, own)
        return subprocess.Popen(  # what Python imports is what is tested
            [sys.executable, "-m", "pcsearch", *all_of_it],
            cwd=self.laptop,
            env=own,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, command: str, *arguments: str, **environment: str) -> tuple[int, str, str]:
        process = self.start(command, *arguments, **environment)
        out, err = process.communicate(timeout=240)
        return process.returncode, out, err

    def submit(self, name: str, *recipe: str) -> tuple[int, str, str]:
        return self.run("submit", *recipe, "--runs", str(self.runs), "--name", name)

    def campaigns(self) -> dict[str, dict[str, Any]]:
        """By name of the run."""
        code, out, err = self.run("status", "--json")
        assert code == 0, err
        return {job["metadata"]["name"]: job for job in json.loads(out)["campaigns"]}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    port = free_port()
    dashboard = ["--include-dashboard=true", "--dashboard-host=127.0.0.1"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    dashboard += [f"--dashboard-port={port}", f"--dashboard-agent-listen-port={free_port()}"]
    options = ("--num-cpus=2", *dashboard)
    own = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "PATH": path}
    with running_head(*options, **own) as head:
        (folder / "laptop").mkdir()
        (folder / "laptop" / "sleepy.py").write_text(SLEEPY)
        yield Site(head, f"http://127.0.0.1:{port}", folder / "runs", folder / "laptop")


def until(met: Callable[[], Any], seconds: float = 180) -> Any:
    end = time.monotonic() + seconds
    while not (found := met()):
        assert time.monotonic() < end, "not in time"
        time.sleep(0.2)
    return found


def test_a_campaign_is_sent_followed_and_found_again(site: Site) -> None:
    code, out, err = site.submit("first", *SMALL)
    assert code == 0, out + err
    assert "digits/compact_cnn pc confirm 1: complete" in out
    assert "quickstart · complete" in out
    summary = json.loads((site.runs / "first" / "summary.json").read_text())
    assert summary["status"] == "complete"

    (job,) = site.campaigns().values()
    assert (job["status"], job["exit_code"]) == ("SUCCEEDED", 0)
    _, table, _ = site.run("status", COLUMNS="60")
    assert job["id"] in table, "an id that is folded cannot be copied"
    code, again, err = site.run("attach", job["id"])  # from anywhere, whenever
    assert code == 0, err
    assert again.splitlines()[-9:] == out.splitlines()[-9:]
    code, log, _ = site.run("logs", job["id"])
    assert code == 0
    assert "campaign complete" in log
    assert "Traceback" not in out + err + log

    for secret in (CANARY, TOKEN):
        assert _files_with(secret, site.runs, site.head.temp_dir) == []
        assert secret not in json.dumps(job)


def test_following_may_end_and_the_campaign_goes_on(site: Site) -> None:
    follower = site.start("submit", *LONG, *OWN, "--runs", str(site.runs), "--name=long", "--plain")
    assert follower.stdout is not None
    assert follower.stdout.readline().startswith("submitted pcsearch-long-")
    journal = site.runs / "long" / "journal.jsonl"
    until(lambda: journal.exists() and journal.read_text().count('"event":"epoch"') > 2)
    follower.kill()  # a laptop that closes says nothing
    follower.communicate()

    follower = site.start("attach", "--plain")
    assert follower.stdout is not None
    until(lambda: "in " + str(site.runs / "long") in follower.stdout.readline())
    follower.send_signal(signal.SIGINT)
    out, err = follower.communicate(timeout=60)
    assert follower.returncode == 130, out + err
    assert "the campaign continues" in out
    job = site.campaigns()["long"]
    assert job["status"] == "RUNNING"
    assert job["progress"]["run"] == str(site.runs / "long")
    assert job["progress"]["trials_planned"] == 4

    before = journal.read_text().count('"event":"epoch"')
    until(lambda: journal.read_text().count('"event":"epoch"') > before)
    code, out, err = site.run("stop")
    assert code == 0, err
    assert out.splitlines()[0] == f"{job['id']} was stopped"
    go_on = f"submit {site.dashboard} --resume {site.runs / 'long'}"
    assert out.splitlines()[1] == f"resume with: pcsearch cluster {go_on}"
    assert json.loads(journal.read_text().splitlines()[-1])["status"] == "interrupted"
    assert site.run("stop", job["id"])[0] == 2

    wider = ["confirm.seeds=3", "--runs", str(site.runs), "--module", "sleepy.py"]
    code, out, err = site.run("submit", "--resume", "long", *wider)
    assert code == 0, out + err
    assert "resumed, 2 trials restarted" in out
    assert "confirm 2: complete" in out
    assert json.loads((site.runs / "long" / "summary.json").read_text())["status"] == "complete"


def test_a_run_that_has_ended_tells_its_table_again(site: Site) -> None:
    code, out, err = site.run("submit", "--resume", str(site.runs / "long"), "--plain")
    assert code == 0, out + err
    assert "quickstart · complete" in out


QUIET = """
import json, sys
from pathlib import Path
from pcsearch.cluster import jobs
from pcsearch.cluster.follow import Following

address, folder = sys.argv[1:]
jobs._SILENT_SECONDS = 2.5
quiet, name = "echo one; sleep 8; echo two", "pcsearch-silent-1"
jobs.Jobs(address).submit(quiet, Path(folder), {"name": "silent"}, name)
following, broke = Following(address, name, patience_seconds=1.0), []
lines = list(following.lines(lambda: broke.append("broke")))
print(json.dumps([[line for line in lines if line in ("one", "two")], broke]))
raise SystemExit(following.job.exit_code)
"""


def test_a_silent_campaign_is_followed_all_the_same(site: Site, tmp_path: Path) -> None:
    """As one is whose store is away: the cluster answers, but there is nothing to tell."""
    done = subprocess.run(
        [sys.executable, "-c", QUIET, site.dashboard, str(tmp_path)],
        env=dict(site.head.environment),
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [["one", "two"], []]


def test_a_campaign_whose_process_is_killed_is_told_and_how_to_go_on(site: Site) -> None:
    command = "submit", *LONG, *OWN, "--runs", str(site.runs), "--name=killed", "--plain"
    follower = site.start(*command)
    journal = site.runs / "killed" / "journal.jsonl"
    until(lambda: journal.exists() and '"event":"epoch"' in journal.read_text())
    (driver,) = [
        pid
        for pid, line in commands(str(site.runs)).items()
        if "--name killed" in line and "pcsearch tune" in line and "sh -c" not in line
    ]
    os.kill(driver, signal.SIGKILL)
    out, err = follower.communicate(timeout=60)
    assert follower.returncode == 128 + signal.SIGKILL, out + err
    assert "SIGKILL ended the campaign's process" in err
    assert f"submit {site.dashboard} --resume killed --runs {site.runs}" in err


def test_a_mistake_that_only_the_head_sees_is_told_here(site: Site) -> None:
    code, out, err = site.submit("first", *SMALL)  # the name is taken
    assert code == 2, out
    assert "first" in err
    assert "Traceback" not in out + err


@pytest.mark.parametrize(
    ("token", "message"),
    [("f" * 64, "wants another token"), (None, "wants another token")],
    ids=["another", "none"],
)
def test_without_the_token_nothing_is_told_or_started(
    site: Site, token: str | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    if token is not None:
        path.write_text(token)
    before = site.campaigns().keys()
    home = {"HOME": str(tmp_path), "RAY_AUTH_TOKEN_PATH": str(path) if token else ""}
    for command, arguments in (("status", ()), ("submit", (*SMALL, "--runs=/r", "--detach"))):
        code, out, err = site.run(command, *arguments, **home)
        assert (code, out) == (2, "")
        assert message in err
        assert "RAY_AUTH_TOKEN_PATH" in err
        assert "Traceback" not in err
    assert site.campaigns().keys() == before


def test_with_another_ray_nothing_is_sent(site: Site, tmp_path: Path) -> None:
    before = site.campaigns().keys()
    theirs = another_ray({}, tmp_path / "ray")
    code, out, err = site.run("submit", *SMALL, "--runs=/r", "--detach", **theirs)
    assert (code, out) == (2, "")
    assert f"runs Ray {ray.__version__}, this machine {ANOTHER_RAY}" in err
    assert f"pip install 'ray[default,tune]=={ray.__version__}'" in err
    assert "Traceback" not in err
    assert site.campaigns().keys() == before


SEEN_BY_DOWN = """
import json, sys
from pcsearch.cluster.launcher import running_campaigns
print(json.dumps([job.id for job in running_campaigns(sys.argv[1])]))
"""


def test_a_campaign_that_was_started_on_the_head_is_seen(site: Site, tmp_path: Path) -> None:
    """By `tune --address`: Ray has it as a driver, which it cannot follow or stop for others."""
    here = [
        sys.executable,
        "-m",
        "pcsearch",
        "tune",
        *LONG,
        *LONGER,
        *OWN,
        "--address",
        site.head.address,
    ]
    with (tmp_path / "said").open("w") as said:
        driver = subprocess.Popen(
            [*here, "--plain", "--runs", str(site.runs), "--name=here"],
            cwd=site.laptop,
            env=dict(site.head.environment),
            stdout=said,
            stderr=said,
        )
    try:
        journal = site.runs / "here" / "journal.jsonl"
        until(lambda: journal.exists() and '"event":"epoch"' in journal.read_text())
        job = site.campaigns()["here"]
        assert (job["status"], job["metadata"]["recipes"]) == ("RUNNING", "quickstart")
        assert job["process"] == f"process {driver.pid} on 127.0.0.1"
        assert f"{job['id']} was not submitted; it is {job['process']}" in site.run("status")[1]
        ask = [sys.executable, "-c", SEEN_BY_DOWN, site.dashboard]
        seen = subprocess.run(
            ask, env=dict(site.head.environment), capture_output=True, text=True, timeout=60
        )
        assert json.loads(seen.stdout) == [job["id"]], seen.stderr
        for command in ("stop", "attach", "logs"):
            code, _, err = site.run(command)
            assert code == 2
            assert f"It was started as {job['process']}" in err
            assert "Ctrl-C in its terminal" in err
    finally:
        driver.send_signal(signal.SIGINT)
        assert driver.wait(timeout=60) == 130, (tmp_path / "said").read_text()
    assert site.campaigns()["here"]["status"] == "SUCCEEDED"  # Ray knows no more of a driver


def test_an_unknown_job_is_told_with_those_there_are(site: Site) -> None:
    code, _, err = site.run("attach", "nope")
    assert code == 2
    assert "there is no job nope on this cluster; its jobs: " in err
    assert "pcsearch-" in err


def test_where_nothing_answers_it_is_said_at_once(tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    done = subprocess.run(
        [sys.executable, "-m", "pcsearch", "cluster", "status", address],
        env=clean_environment(HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 2
    assert f"no Ray dashboard answers at {address}" in done.stderr


def _files_with(text: str, *folders: Path) -> list[Path]:
    found = []
    for folder in folders:
        for file in folder.rglob("*"):
            if file.is_file() and not file.is_symlink() and text.encode() in file.read_bytes():
                found.append(file)
    return found
