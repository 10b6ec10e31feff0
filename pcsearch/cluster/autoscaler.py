"""What an autoscaling cluster may grow to, read from the file that its autoscaler was given."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pcsearch.cluster.capacity import Capacity, Node
from pcsearch.cluster.kuberay_pod import own_config
from pcsearch.regular_files import expanded, read_text

_FLAG = "--autoscaling-config="


def largest(config: Mapping[str, Any]) -> Capacity:
    """What a cluster may grow to.

    Args:
        config: A cluster file as Ray reads it: `available_node_types`, `head_node_type`,
            `max_workers` (for all worker types together, 2 where it is left out).
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
    """How many machines a cluster's file lists by address, its head among them; 0 for others.

    What those have room for is not in the file: it is seen when they have joined.
    """
    provider = config.get("provider") or {}
    if provider.get("type") != "local":
        return 0
    workers = len(provider.get("worker_ips") or [])
    return 1 + min(workers, int(config.get("max_workers", workers)))


def running_config(gcs_address: str) -> dict[str, Any]:
    """The file of the autoscaler of this cluster; empty where none runs on this machine.

    In a pod of KubeRay's, Kubernetes is asked instead: the autoscaler has its rules from there.
    Ray has no question for this that an autoscaler of its own answers (as of 2.60), but the head
    node's autoscaler carries the file's path in its command line.
    """
    import yaml

    port = ":" + gcs_address.rpartition(":")[2]  # one machine, several names for it
    for arguments in _command_lines():
        if not any(argument.endswith(port) for argument in arguments):
            continue
        for argument in arguments:
            if argument.startswith(_FLAG):
                with contextlib.suppress(OSError, yaml.YAMLError):
                    text = read_text(expanded(argument.removeprefix(_FLAG)))
                    return dict(yaml.safe_load(text) or {})
    own = gcs_address.startswith("127.")  # a Ray of this machine's own, not the pod's cluster
    return {} if own else own_config()


def _command_lines() -> Iterator[list[str]]:
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has just ended
            if file.stat().st_uid != os.getuid():  # anybody may write anything there
                continue
            yield file.read_bytes().decode(errors="replace").split("\0")


def _node(node_type: Mapping[str, Any]) -> Node:
    resources = node_type.get("resources", {})
    return Node(float(resources.get("CPU", 0)), float(resources.get("GPU", 0)))
