"""A cluster that is still empty counts for what its autoscaler may add."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from pcsearch.cluster.autoscaler import largest
from tests.cluster.fake_cluster import fake_cluster

ASK = """
import json, sys
from pcsearch.cluster.session import ray_session
with ray_session(sys.argv[1]) as session:
    capacity = session()
    import ray
    print(json.dumps([capacity.cpus, capacity.gpus, ray.cluster_resources().get("CPU", 0)]))
"""


@pytest.mark.slow
def test_capacity_counts_the_nodes_that_may_be_added() -> None:
    with fake_cluster(workers=3, cpus=2, gpus=1) as cluster:
        answer = subprocess.run(
            [sys.executable, "-c", ASK, cluster.head.address],
            env=dict(cluster.head.environment),
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout) == [6.0, 3.0, 0.0]


def test_the_most_respects_every_limit() -> None:
    types = {
        "head": {"resources": {"CPU": 4}},
        "small": {"resources": {"CPU": 8, "GPU": 1}, "max_workers": 5},
        "large": {"resources": {"CPU": 96, "GPU": 8}, "max_workers": 2},
        "cpu": {"resources": {"CPU": 16}},
    }
    config = {"head_node_type": "head", "available_node_types": types, "max_workers": 6}
    assert largest(config).gpus == 2 * 8 + 4 * 1
    assert largest(config).cpus == 4 + 2 * 96 + 4 * 16
    assert largest(config).fits(8, 1) == 2 * 8 + 4
    assert largest(config | {"max_workers": 1}).gpus == 8
    assert largest({}).cpus == 0
