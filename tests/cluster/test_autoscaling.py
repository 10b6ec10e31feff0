"""A cluster that is still empty counts for what its autoscaler may add."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pcsearch.cluster.autoscaler import largest
from tests.cluster.heads import free_port, running_head

HEAD_ID = "f" * 51 + "00000"
PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
ASK = """
import json, sys
from pcsearch.cluster.session import ray_session
with ray_session(sys.argv[1]) as session:
    capacity = session()
    import ray
    print(json.dumps([capacity.cpus, capacity.gpus, ray.cluster_resources().get("CPU", 0)]))
"""


@pytest.mark.slow
def test_capacity_counts_the_nodes_that_may_be_added(tmp_path: Path) -> None:
    port = free_port()
    file = tmp_path / "cluster.yaml"
    file.write_text(yaml.safe_dump(_cluster(f"127.0.0.1:{port}")))
    options = ("--num-cpus=0", "--num-gpus=0", f"--autoscaling-config={file}")
    fake = {
        "RAY_FAKE_CLUSTER": "1",
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID,
        "RAY_CLOUD_INSTANCE_ID": HEAD_ID,
        "RAY_enable_autoscaler_v2": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    }
    with running_head(*options, port=port, **fake) as head:
        answer = subprocess.run(
            [sys.executable, "-c", ASK, head.address],
            env=dict(head.environment),
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


def _cluster(gcs_address: str) -> dict[str, Any]:
    """Ray's own fake nodes: a head with no CPUs and up to three workers of 2 CPUs and a GPU."""
    commands = ("initialization", "setup", "head_setup", "worker_setup")
    commands += ("head_start_ray", "worker_start_ray")
    lists = {f"{name}_commands": [] for name in commands}
    lists |= {"cluster_synced_files": [], "rsync_exclude": [], "rsync_filter": []}
    return lists | {
        "cluster_name": "fake",
        "max_workers": 3,
        "idle_timeout_minutes": 1,
        "upscaling_speed": 1,
        "provider": {
            "type": "external",
            "module": PROVIDER,
            "head_node_id": HEAD_ID,
            "gcs_address": gcs_address,
            "launch_multiple": True,
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "worker": {
                "resources": {"CPU": 2, "GPU": 1},
                "node_config": {},
                "min_workers": 0,
                "max_workers": 3,
            },
        },
    }
