"""An autoscaling cluster's largest size, its launching nodes, and its failed launches."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcsearch.cluster import ray_internals
from pcsearch.cluster.session.capacity import Capacity, Node
from pcsearch.io import expanded, open_regular, read_text

_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def _own_config() -> dict[str, Any]:
    """The autoscaler's configuration for this pod's cluster; empty outside of KubeRay's pods.

    The autoscaler reads it from Kubernetes, and the head's pod may do so, too.
    """
    name = os.environ.get("RAY_CLUSTER_NAME")
    if not name or "KUBERNETES_SERVICE_HOST" not in os.environ:
        return {}
    import requests

    with contextlib.suppress(requests.RequestException, OSError, LookupError, ValueError):
        namespace = os.environ.get("RAY_CLUSTER_NAMESPACE") or _NAMESPACE.read_text().strip()
        cluster = ray_internals.raycluster(namespace, name)
        if cluster["spec"].get("enableInTreeAutoscaling"):
            return ray_internals.launcher_config_of(cluster["metadata"], cluster["spec"])
    return {}


_FLAG = "--autoscaling-config="


def largest_capacity(config: Mapping[str, Any]) -> Capacity:
    """The largest capacity of a cluster.

    Args:
        config: A cluster file in Ray's form: `available_node_types`, `head_node_type`,
            `max_workers` (for all worker types together, 2 by default).
    """
    node_types = dict(config.get("available_node_types") or {})
    head = node_types.pop(config.get("head_node_type"), {})
    limit = int(config.get("max_workers", 2))
    addable = [
        _node(kind)
        for kind in node_types.values()
        for _ in range(min(int(kind.get("max_workers", limit)), limit))
    ]
    return Capacity((_node(head),), tuple(addable), limit)


def machines_listed(config: Mapping[str, Any]) -> int:
    """The number of machines that a cluster's file lists by address, with the head; else 0.

    Their CPUs and GPUs are not in the file. They are known once the machines have joined.
    """
    provider = config.get("provider") or {}
    if provider.get("type") != "local":
        return 0
    workers = len(provider.get("worker_ips") or [])
    return 1 + min(workers, int(config.get("max_workers", workers)))


def running_config(gcs_address: str) -> dict[str, Any]:
    """The file of this cluster's autoscaler; empty if none runs on this machine.

    Ray has no request for it (as of 2.60), but the file's path is in the command line of the head's
    autoscaler. In a KubeRay pod, Kubernetes has the configuration.
    """
    import yaml

    port = ":" + gcs_address.rpartition(":")[2]  # compare ports, since a machine has several names
    for arguments in _command_lines():
        if not any(argument.endswith(port) for argument in arguments):
            continue
        for argument in arguments:
            if argument.startswith(_FLAG):
                with contextlib.suppress(OSError, yaml.YAMLError):
                    text = read_text(expanded(argument.removeprefix(_FLAG)))
                    return dict(yaml.safe_load(text) or {})
    own = gcs_address.startswith("127.")  # this machine's own Ray, not the pod's cluster
    return {} if own else _own_config()


def _command_lines() -> Iterator[list[str]]:
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has just ended
            if file.stat().st_uid != os.getuid():  # other users may fake a command line
                continue
            yield file.read_bytes().decode(errors="replace").split("\0")


def _node(node_type: Mapping[str, Any]) -> Node:
    resources = node_type.get("resources", {})
    return Node(float(resources.get("CPU", 0)), float(resources.get("GPU", 0)))


_ANSWER_SECONDS = 2
_LATELY_SECONDS = 60.0
_FAILED = re.compile(r"Failed to launch \d+ nodes of type (?P<type>\S+): (?P<reason>.+)")
_LOG = "monitor.log"
_LATEST_LINES = 500


@dataclass(frozen=True)
class Launches:
    """Nodes that are being launched.

    Attributes:
        booting: Types of the machines that the provider has started and that have not joined yet.
            They cost money.
        failed: Types that had a failed launch in the last minute and that have no booting machine.
    """

    booting: tuple[str, ...] = ()
    failed: frozenset[str] = frozenset()


def launches() -> Launches | None:
    """Ask the cluster that this process has joined; None without an answer.

    Uses the open connection of this process, since a new one takes time.
    """
    try:
        status = ray_internals.cluster_status(_ANSWER_SECONDS)
    except Exception:  # a busy head, or another Ray's answer; the caller asks again
        return None
    booting = tuple(node.ray_node_type_name for node in status.pending_nodes)
    since = time.time() - _LATELY_SECONDS  # Ray lists every failure since the head's start
    failed = {
        launch.ray_node_type_name
        for launch in status.failed_launches
        if (launch.failed_ts_s or 0.0) >= since
    }
    return Launches(booting, frozenset(failed - set(booting)))


def reason_of(node_type: str) -> str:
    """Why no node of a type could be started, from the autoscaler's log if it is on this machine.

    Ray's answers omit the provider's reason (as of 2.60).
    """
    log = Path(ray_internals.logs_folder() or "") / _LOG
    try:
        with open_regular(log) as file:
            lines = deque((line.decode(errors="replace") for line in file), _LATEST_LINES)
    except OSError:
        return f"the autoscaler's log ({_LOG} of the head's Ray) says why"
    for line in reversed(lines):
        found = _FAILED.search(line)
        if found is not None and found["type"] == node_type:
            return found["reason"].strip()
    return f"{log} says why"
