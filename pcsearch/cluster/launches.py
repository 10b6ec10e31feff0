"""What a cluster's autoscaler is about to add, and what it could not."""

from __future__ import annotations

import re
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from pcsearch.regular_files import open_regular

_ANSWER_SECONDS = 2
_LATELY_SECONDS = 60.0
_FAILED = re.compile(r"Failed to launch \d+ nodes of type (?P<type>\S+): (?P<reason>.+)")
_LOG = "monitor.log"
_LATEST_LINES = 500


@dataclass(frozen=True)
class Launches:
    """Nodes that are on their way.

    Attributes:
        booting: the types of machines that the provider has started, and that have not joined yet;
            they cost.
        failed: types of which one could not be started in the last minute, and none boots.
    """

    booting: tuple[str, ...] = ()
    failed: frozenset[str] = frozenset()


def launches() -> Launches | None:
    """Ask the cluster that this process has joined; None if no answer came.

    By the connection that the process has: another one would take its time to open.
    """
    from ray._private.worker import global_worker
    from ray.autoscaler.v2.schema import Stats
    from ray.autoscaler.v2.utils import ClusterStatusParser
    from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply

    try:
        told = global_worker.gcs_client.get_cluster_status(timeout_s=_ANSWER_SECONDS)
        reply = GetClusterStatusReply.FromString(told)
        status = ClusterStatusParser.from_get_cluster_status_reply(reply, stats=Stats())
    except Exception:  # a busy head, or another Ray's answer: it is asked again
        return None
    booting = tuple(node.ray_node_type_name for node in status.pending_nodes)
    since = time.time() - _LATELY_SECONDS  # Ray tells of every failure since the head began
    failed = {
        launch.ray_node_type_name
        for launch in status.failed_launches
        if (launch.failed_ts_s or 0.0) >= since
    }
    return Launches(booting, frozenset(failed - set(booting)))


def reason_of(node_type: str) -> str:
    """Why none could be started, as the autoscaler's log has it where it is on this machine.

    Ray keeps the provider's reason out of what it answers (as of 2.60).
    """
    from ray._private.worker import global_worker

    node = global_worker.node
    log = Path(node.get_logs_dir_path()) / _LOG if node is not None else Path(_LOG)
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
