"""A cluster on this machine that grows and shrinks: Ray's own autoscaler, with its fake nodes.

Each fake node is a raylet with workers of its own, which the autoscaler starts when trials wait and
ends when it has been idle. What the machine does not have is another machine: nodes share its CPUs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from pcsearch.code_consent import VARIABLE
from tests.cluster.heads import Head, commands, descendants, free_port, running_head
from tests.e2e.cli import PACKAGE

HEAD_ID = "f" * 51 + "00000"
PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
HEALTH = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "5",
}
"""A node that is gone is missed after five seconds, one that is silent after fifteen."""

T = TypeVar("T")


@dataclass(frozen=True)
class FakeCluster:
    """A head without CPUs and as many workers as there is work for, up to a limit."""

    head: Head

    def nodes(self) -> dict[str, int]:
        """The workers that run: their ids, and the process ids of their raylets."""
        found = {}
        for pid, command in commands(str(self.head.temp_dir)).items():
            if "/raylet/raylet " in command:
                node = _environment(pid).get("RAY_OVERRIDE_NODE_ID_FOR_TESTING", HEAD_ID)
                found |= {node: pid} if node != HEAD_ID else {}
        return found

    def tune(self, folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a campaign on it, in the run `folder`/run; what it prints is in `folder`/out."""
        command = [sys.executable, "-m", "pcsearch", "tune", "quickstart", *arguments, "--plain"]
        command += ["--address", self.head.address, "--runs", str(folder), "--name", "run"]
        environment = {"PCSEARCH_CACHE": str(folder / "cache"), "PYTHONPATH": str(PACKAGE)}
        environment[VARIABLE] = "tests"  # its sleeper is one
        with (folder / "out").open("wb") as out:
            return subprocess.Popen(
                command,
                cwd=PACKAGE,
                env={**self.head.environment, **environment},
                stdout=out,
                stderr=out,
            )

    def lose(self, node: str) -> None:
        """All that the machine ran is gone at once."""
        for pid in descendants(self.nodes()[node]):
            _tell(pid, signal.SIGKILL)

    def silence(self, node: str) -> set[int]:
        """What a machine leaves that is cut off: connections on which nothing answers any more.

        Returns what is to be killed afterwards.
        """
        pids = descendants(self.nodes()[node])
        for pid in pids:
            _tell(pid, signal.SIGSTOP)
        return pids

    def take_back(self, node: str, grace_seconds: float) -> None:
        """What a machine does that is taken back: SIGTERM to all it runs, then it is gone."""
        pids = descendants(self.nodes()[node])
        for pid in pids:
            _tell(pid, signal.SIGTERM)
        deadline = time.monotonic() + grace_seconds
        while time.monotonic() < deadline and any(_lives(pid) for pid in pids):
            time.sleep(0.05)
        for pid in pids:
            _tell(pid, signal.SIGKILL)


@contextlib.contextmanager
def fake_cluster(
    workers: int,
    *more: str,
    cpus: int = 1,
    gpus: int = 0,
    idle_seconds: float = 6.0,
    provider: str = PROVIDER,
    **environment: str,
) -> Iterator[FakeCluster]:
    """A cluster of no worker nodes yet, on loopback, with token authentication on.

    `more` are further options of its head.
    """
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="pcs-") as folder:
        file = Path(folder) / "cluster.yaml"
        resources = {"CPU": cpus, "GPU": gpus}
        config = _config(f"127.0.0.1:{port}", workers, resources, idle_seconds, provider)
        file.write_text(yaml.safe_dump(config))
        fake = {
            "RAY_FAKE_CLUSTER": "1",
            "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID,
            "RAY_CLOUD_INSTANCE_ID": HEAD_ID,
            "RAY_enable_autoscaler_v2": "1",
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # listen on 127.0.0.1 and nowhere else
        }
        options = ("--num-cpus=0", "--num-gpus=0", f"--autoscaling-config={file}", *more)
        with running_head(*options, port=port, **fake | HEALTH | environment) as head:
            yield FakeCluster(head)


def until(met: Callable[[], T], seconds: float = 150) -> T:
    """Poll until there is something."""
    end = time.monotonic() + seconds
    while not (found := met()):
        assert time.monotonic() < end, "not in time"
        time.sleep(0.05)
    return found


def _config(
    gcs_address: str,
    workers: int,
    resources: dict[str, int],
    idle_seconds: float,
    provider: str,
) -> dict[str, Any]:
    commands = ("initialization", "setup", "head_setup", "worker_setup")
    commands += ("head_start_ray", "worker_start_ray")
    empty: dict[str, Any] = {f"{name}_commands": [] for name in commands}
    empty |= {"cluster_synced_files": [], "rsync_exclude": [], "rsync_filter": []}
    empty |= {"auth": {}, "docker": {}, "file_mounts": {}, "file_mounts_sync_continuously": False}
    return empty | {
        "cluster_name": "fake",
        "max_workers": workers,
        "idle_timeout_minutes": idle_seconds / 60,
        "upscaling_speed": 1,
        "provider": {
            "type": "external",
            "module": provider,
            "head_node_id": HEAD_ID,
            "gcs_address": gcs_address,
            "launch_multiple": True,
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "worker": {
                "resources": {**resources, "object_store_memory": 100_000_000},
                "node_config": {},
                "min_workers": 0,
                "max_workers": workers,
            },
        },
    }


def _environment(pid: int) -> dict[str, str]:
    with contextlib.suppress(OSError):
        entries = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
        return dict(entry.split("=", 1) for entry in entries if "=" in entry)
    return {}


def _tell(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _lives(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
