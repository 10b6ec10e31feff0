"""What a cluster's autoscaler is about to add, and what it could not."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from pathlib import Path

_ANSWER_SECONDS = 2
_FAILED = re.compile(r"Failed to launch \d+ nodes of type (?P<type>\S+): (?P<reason>.+)")
_LOG = "monitor.log"
_LATEST_LINES = 500


@dataclass(frozen=True)
class Launches:
    """Nodes that are on their way.

    Attributes:
        booting: machines that the provider has started, and that have not joined yet; they cost.
        failed: node types of which one could not be started lately.
    """

    booting: int = 0
    failed: frozenset[str] = frozenset()


NONE = Launches()


def launches() -> Launches:
    """Ask the cluster that this process has joined; none where nothing adds nodes to it."""
    import ray
    from ray.autoscaler.v2.sdk import get_cluster_status

    try:
        status = get_cluster_status(ray.get_runtime_context().gcs_address, _ANSWER_SECONDS)
    except Exception:  # a busy head, or another Ray's answer: it is asked again
        return NONE
    failed = frozenset(launch.ray_node_type_name for launch in status.failed_launches)
    return Launches(len(status.pending_nodes), failed)


def reason_of(node_type: str) -> str:
    """Why none could be started, as the autoscaler's log has it where it is on this machine.

    Ray keeps the provider's reason out of what it answers (as of 2.60).
    """
    from ray._private.worker import global_worker

    node = global_worker.node
    log = Path(node.get_logs_dir_path()) / _LOG if node is not None else Path(_LOG)
    try:
        with log.open(errors="replace") as file:
            lines = deque(file, _LATEST_LINES)
    except OSError:
        return f"the autoscaler's log ({_LOG} of the head's Ray) says why"
    for line in reversed(lines):
        found = _FAILED.search(line)
        if found is not None and found["type"] == node_type:
            return found["reason"].strip()
    return f"{log} says why"
