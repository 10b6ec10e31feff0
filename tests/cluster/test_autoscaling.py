"""A cluster that is still empty counts for what its autoscaler may add, and adds it early."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pcsearch.cluster.session.autoscaler import largest_capacity
from tests.cluster.fake_cluster import fake_cluster
from tests.cluster.heads import free_port
from tests.cluster.test_jobs import SMALL
from tests.e2e.cli import PACKAGE

ASK = """
import json, sys, time
from pcsearch.execution.node_watch import early_nodes
from pcsearch.cluster.session.session import ray_session
from pcsearch.recipe.load import load_recipe
with ray_session(sys.argv[1]) as session:
    capacity = session()
    import ray
    from ray.util import placement_group_table
    print(json.dumps([capacity.cpus, capacity.gpus, ray.cluster_resources().get("CPU", 0)]))

    with early_nodes(load_recipe("quickstart", []), capacity):
        until = time.monotonic() + 40
        while ray.cluster_resources().get("CPU", 0) < 6 and time.monotonic() < until:
            time.sleep(0.2)
        held = [group["state"] for group in placement_group_table().values()]
    left = [group["state"] for group in placement_group_table().values()]
    print(json.dumps([ray.cluster_resources().get("CPU", 0), len(held), set(left) == {"REMOVED"}]))
"""


@pytest.mark.slow
def test_nodes_that_may_be_added_count_and_come_before_the_trials_do() -> None:
    """Six trials of a CPU fit on three nodes of two, and are no more than the search asks for."""
    with fake_cluster(workers=3, cpus=2, gpus=1) as cluster:
        answer = subprocess.run(
            [sys.executable, "-c", ASK, cluster.head.address],
            env=dict(cluster.head.environment),
            capture_output=True,
            text=True,
            timeout=100,
        )
    assert answer.returncode == 0, answer.stderr
    assert [json.loads(line) for line in answer.stdout.splitlines()] == [
        [6.0, 3.0, 0.0],
        [6.0, 6, True],
    ]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_one_command_runs_a_campaign_on_an_empty_cluster(tmp_path: Path) -> None:
    """A cluster without a file, such as KubeRay's, is up already, and stays."""
    port = free_port()
    head = ["--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--dashboard-port={port}"]
    head.append(f"--dashboard-agent-listen-port={free_port()}")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    address = f"http://127.0.0.1:{port}"
    own = {"PATH": path, "PYTHONPATH": str(PACKAGE)}
    with fake_cluster(2, *head, provider="tests.cluster.own_folders.OwnFolders", **own) as cluster:
        command = [sys.executable, "-m", "pcsearch", "tune", *SMALL, "--cluster", address]
        done = subprocess.run(
            [*command, "--runs", str(tmp_path / "runs"), "--name=first"],
            env={**cluster.head.environment, "PCSEARCH_RUNS": "here"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert cluster.head.alive()
    assert "submitted pcsearch-first-" in done.stdout
    assert "quickstart · complete" in done.stdout
    assert done.stdout.rstrip().endswith(f"{address} runs until the tool that started it ends it")
    assert (tmp_path / "runs" / "first" / "summary.json").exists()


def test_the_most_respects_every_limit() -> None:
    types = {
        "head": {"resources": {"CPU": 4}},
        "small": {"resources": {"CPU": 8, "GPU": 1}, "max_workers": 5},
        "large": {"resources": {"CPU": 96, "GPU": 8}, "max_workers": 2},
        "cpu": {"resources": {"CPU": 16}},
    }
    config = {"head_node_type": "head", "available_node_types": types, "max_workers": 6}
    assert largest_capacity(config).gpus == 2 * 8 + 4 * 1
    assert largest_capacity(config).cpus == 4 + 2 * 96 + 4 * 16
    assert largest_capacity(config).max_trials(8, 1) == 2 * 8 + 4
    assert largest_capacity(config | {"max_workers": 1}).gpus == 8
    assert largest_capacity({}).cpus == 0
