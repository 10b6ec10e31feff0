"""`cluster.yaml`, as far as it can be checked without an AWS account."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import pcsearch
from pcsearch.cluster.autoscaler import largest

FILE = Path(__file__).resolve().parents[2] / "cluster.yaml"
SHARED = ("/shared/data", "/shared/runs")


@pytest.fixture
def cluster() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return loaded


@pytest.fixture
def workers(cluster: dict[str, Any]) -> dict[str, Any]:
    types = cluster["available_node_types"]
    return {name: kind for name, kind in types.items() if name != cluster["head_node_type"]}


def test_ray_accepts_it(cluster: dict[str, Any]) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(cluster)
    validate_config(prepared)
    with pytest.raises(jsonschema.ValidationError):  # the check above does look
        validate_config(prepared | {"idle_minutes": 5})


def test_the_head_runs_no_trials(cluster: dict[str, Any]) -> None:
    head = cluster["available_node_types"][cluster["head_node_type"]]
    assert head["resources"] == {"CPU": 0, "GPU": 0}
    assert head["max_workers"] == 0
    assert "InstanceMarketOptions" not in head["node_config"]


def test_workers_come_from_none_on_spot_with_gpus(
    cluster: dict[str, Any], workers: dict[str, Any]
) -> None:
    assert workers
    for kind in workers.values():
        assert kind["min_workers"] == 0
        assert 0 < kind["max_workers"] <= cluster["max_workers"]
        assert kind["resources"]["GPU"] >= 1
        assert kind["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert largest(cluster).gpus == 8


def test_it_grows_and_shrinks_sanely(cluster: dict[str, Any]) -> None:
    assert 1 <= cluster["idle_timeout_minutes"] <= 30
    assert 0 < cluster["upscaling_speed"] <= 10
    assert cluster["provider"]["cache_stopped_nodes"] is False


def test_the_token_reaches_every_node_and_is_used(cluster: dict[str, Any]) -> None:
    assert cluster["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    for role in ("head", "worker"):
        (start,) = [line for line in cluster[f"{role}_start_ray_commands"] if "ray start" in line]
        assert "RAY_AUTH_MODE=token" in start
    assert "RAY_AUTH_TOKEN" not in FILE.read_text()  # the token itself is never in the file


def test_nothing_but_ssh_is_open_to_the_world(cluster: dict[str, Any]) -> None:
    assert cluster["provider"]["security_group"].keys() == {"GroupName"}
    assert "0.0.0.0" not in FILE.read_text()
    (start,) = [line for line in cluster["head_start_ray_commands"] if "ray start" in line]
    assert "--dashboard-host=127.0.0.1" in start


def test_the_rules_that_ray_makes_open_port_22_alone(cluster: dict[str, Any]) -> None:
    pytest.importorskip("boto3", reason="needs boto3: pip install 'pcsearch[aws]'")
    from ray.autoscaler._private.aws.config import _create_default_inbound_rules

    own = cluster["provider"]["security_group"].get("IpPermissions", [])
    rules = _create_default_inbound_rules(["sg-1"], own)
    assert [rule["FromPort"] for rule in rules if "IpRanges" in rule] == [22]
    assert [rule["ToPort"] for rule in rules if "IpRanges" in rule] == [22]


def test_every_node_installs_this_version_and_mounts_the_shared_folder(
    cluster: dict[str, Any],
) -> None:
    wheel = f"pcsearch-{pcsearch.__version__}-py3-none-any.whl"
    assert cluster["file_mounts"][f"~/{wheel}"] == f"dist/{wheel}"
    commands = cluster["setup_commands"]
    assert any("pip install" in line and wheel in line and "ray[" in line for line in commands)
    (mount,) = [line for line in commands if "mount -t nfs4" in line]
    assert mount.endswith(" /shared")
    assert any(all(folder in line for folder in SHARED) for line in commands)


def test_what_is_to_be_filled_in_is_marked() -> None:
    lines = FILE.read_text().splitlines()
    notes = [line for line in lines if line.lstrip().startswith("#")]
    values = [line for line in lines if not line.lstrip().startswith("#")]
    assert [number for number in range(1, 9) if any(f"FILL IN {number}:" in n for n in notes)] == [
        1,
        2,
        3,
    ]
    assert sum("FILL-IN" in line for line in values) == 2  # the region has a working default
