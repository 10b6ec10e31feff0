"""`cluster.yaml`, as far as it can be checked without AWS; test_aws.py goes on with a fake one."""

from __future__ import annotations

import shlex
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import pcsearch
from pcsearch.cli.cluster.check import findings_of
from pcsearch.cluster.session.autoscaler import largest_capacity

ROOT = Path(__file__).resolve().parents[3]
FILE = ROOT / "cluster.yaml"


@pytest.fixture
def cluster() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return loaded


@pytest.fixture
def workers(cluster: dict[str, Any]) -> dict[str, Any]:
    types = cluster["available_node_types"]
    return {name: kind for name, kind in types.items() if name != cluster["head_node_type"]}


def wanted(cluster: dict[str, Any], trials: int) -> dict[str, int]:
    """The machines that Ray's autoscaler wants for so many trials, while there are none."""
    from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
    from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
    from ray.core.generated.autoscaler_pb2 import ResourceRequest, ResourceRequestByCount

    config = AutoscalingConfig(cluster, skip_content_hash=True)
    one = ResourceRequest(resources_bundle={"CPU": 1, "GPU": 1})
    answer = ResourceDemandScheduler().schedule(
        SchedulingRequest(
            disable_launch_config_check=True,
            node_type_configs=config.get_node_type_configs(),
            max_num_nodes=config.get_max_num_worker_nodes(),
            resource_requests=[ResourceRequestByCount(request=one, count=trials)],
        )
    )
    return {launch.instance_type: launch.count for launch in answer.to_launch}


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


def test_workers_come_from_none_on_spot_and_on_demand(
    cluster: dict[str, Any], workers: dict[str, Any]
) -> None:
    for kind in workers.values():
        assert kind["min_workers"] == 0
        assert kind["resources"]["GPU"] >= 1
    market = {name: kind["node_config"].pop("InstanceMarketOptions", None)
              for name, kind in workers.items()}  # fmt: skip
    assert market == {"gpu-spot": {"MarketType": "spot"}, "gpu-on-demand": None}
    assert workers["gpu-spot"]["node_config"] == workers["gpu-on-demand"]["node_config"]
    assert largest_capacity(cluster).gpus == cluster["max_workers"] == 8


def test_spot_comes_first_and_on_demand_what_is_wanted_beyond_it(cluster: dict[str, Any]) -> None:
    assert wanted(cluster, 1) == {"gpu-spot": 1}
    assert wanted(cluster, 6) == {"gpu-spot": 6}
    assert wanted(cluster, 8) == wanted(cluster, 100) == {"gpu-spot": 6, "gpu-on-demand": 2}
    cluster["available_node_types"]["gpu-spot"]["max_workers"] = 0
    assert wanted(cluster, 100) == {"gpu-on-demand": 2}


def test_it_grows_at_once_and_shrinks_sanely(
    cluster: dict[str, Any], workers: dict[str, Any]
) -> None:
    from ray.autoscaler.v2.instance_manager.reconciler import Reconciler
    from ray.core.generated.instance_manager_pb2 import Instance

    most = workers["gpu-spot"]["max_workers"]
    queued = [Instance(instance_id=str(number), instance_type="gpu-spot") for number in range(most)]
    launched = Reconciler._compute_to_launch(queued, [], [], cluster["upscaling_speed"], 10)
    assert len(launched["gpu-spot"]) == most
    assert 1 <= cluster["idle_timeout_minutes"] <= 30
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


def test_a_lost_worker_is_noticed_soon(cluster: dict[str, Any]) -> None:
    (start,) = [line for line in cluster["head_start_ray_commands"] if "ray start" in line]
    assert "RAY_health_check_period_ms=1000" in start
    assert "RAY_health_check_failure_threshold=5" in start
    assert start.index("RAY_health") < start.index("ray start")


def test_every_node_installs_this_version_and_copies_the_images(cluster: dict[str, Any]) -> None:
    wheel = f"pcsearch-{pcsearch.__version__}-py3-none-any.whl"
    assert cluster["file_mounts"][f"~/{wheel}"] == f"dist/{wheel}"
    commands = cluster["setup_commands"]
    assert any("pip install" in line and wheel in line and "ray[" in line for line in commands)
    assert_installs_anew(commands, wheel)
    (copy,) = [line for line in commands if line.startswith("aws s3 sync")]
    assert copy.endswith("s3://bucket-FILL-IN/data /home/ubuntu/data")
    assert "data.root=/home/ubuntu/data" in FILE.read_text()


def assert_installs_anew(commands: list[str], wheel: str) -> None:
    """Also a wheel of the same version, which pip would take for what is there already."""
    pips = [line for line in commands if "pip install" in line and wheel in line]
    assert "--force-reinstall" not in pips[0]
    assert pips[1:] == [f"~/pcsearch/bin/pip install -q --force-reinstall --no-deps ~/{wheel}"]


@pytest.mark.parametrize(
    "file",
    ["cluster.yaml", "clusters/gcp.yaml", "clusters/on-premise.yaml", "clusters/kuberay.yaml"],
)
def test_the_commands_of_its_header_pass_the_check(
    file: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it is filled in; what this machine lacks is not the file's fault."""
    text = (ROOT / file).read_text()
    lines = [line.partition("pcsearch cluster check ")[2] for line in text.splitlines()]
    (words,) = [shlex.split(line.partition("&&")[0]) for line in lines if line]
    assert words[0] == file
    monkeypatch.chdir(home)
    filled = home / "cluster.yaml"
    filled.write_text(text.replace("FILL-IN", "1").replace("2.60.0", version("ray")))
    found = findings_of(filled, words[1:], None, None)
    own = ("is not installed, but `ray up` needs it", "credentials on this machine")
    problems = [f.text for f in found if f.level == "problem"]
    assert [text for text in problems if not text.endswith(own)] == []


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


def test_every_line_is_explained() -> None:
    """A comment stands over each entry, or over the first of those that belong together."""
    unexplained = 0
    for line in FILE.read_text().splitlines():
        explains = line.lstrip().startswith("#")
        unexplained = 0 if explains or not line else unexplained + 1
        assert unexplained <= 7, line
