"""A node is gone at once: seconds until its trial trains elsewhere, and what was trained in vain.

Six nodes train a trial each, with epochs of two seconds. One of them, raylet and all, is killed; no
other is free, so the autoscaler has to replace it. From the kill until the trial's first training
step on another node begins; as often as asked, a node each time. Then one more is taken back with
a notice, SIGTERM to all of its processes and SIGKILL later; and one is cut off: all of it is
stopped (SIGSTOP), so that connections stay open and nothing answers. Ray's health check looks every
second, waits for two, and gives a node up after five failures.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

from data_path_parts.figures import Figure, figure_of

from cluster_parts.campaigns import NODES, ended, start
from tests.cluster import sleeper
from tests.cluster.fake_cluster import FakeCluster, fake_cluster, until
from tests.e2e.cli import epoch_events, read_journal

EPOCH_SECONDS = 2.0


def measure(scratch: Path, repeats: int) -> list[Figure]:
    epochs = 50 + 12 * repeats  # enough for none to end meanwhile
    with (
        fake_cluster(workers=NODES) as cluster,
        start(
            cluster, scratch, trials=NODES, epochs=epochs, epoch_seconds=EPOCH_SECONDS
        ) as process,
    ):
        until(lambda: len({e["trial"] for e in epoch_events(_events(scratch))}) == NODES)
        killed = [_again(cluster, scratch, "killed") for _ in range(repeats)]
        noticed = _again(cluster, scratch, "notice")
        silent = _again(cluster, scratch, "silent")
        process.wait()
    ended(process, scratch)
    events = _events(scratch)
    retried = [event for event in events if event["event"] == "retried"]
    assert {event["kind"] for event in retried} == {"node"}, retried
    epochs_known = [(event["trial"], event["epoch"]) for event in epoch_events(events)]
    assert len(epochs_known) == len(set(epochs_known))
    again = sum(event["event"] == "repeated" for event in events)
    note = f"{again} epochs trained twice in {len(retried)} losses"
    return [
        figure_of("node killed: trains elsewhere", killed, wanted=20.0, at_least=False, unit="s"),
        Figure("taken back with a notice: the same", noticed, 20.0, at_least=False, unit="s"),
        Figure("cut off: the same", silent, unit="s"),
        Figure("epochs trained twice, per loss", again / len(retried), note=note),
    ]


def _again(cluster: FakeCluster, folder: Path, how: str) -> float:
    """Lose the node of the trial that began the longest ago; seconds until it trains again."""
    before = sleeper.begun(folder / "marks")
    known = len([event for event in _events(folder) if event["event"] == "retried"])
    alive = cluster.nodes()
    node = next(mark["node"] for mark in before if mark["node"] in alive)
    lost_at = time.time()
    stopped: set[int] = set()
    if how == "notice":
        cluster.take_back(node, grace_seconds=3.0)
    elif how == "silent":
        stopped = cluster.silence(node)
    else:
        cluster.lose(node)
    until(lambda: len([e for e in _events(folder) if e["event"] == "retried"]) > known)
    told = time.time() - lost_at
    for pid in stopped:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until(lambda: len(cluster.nodes()) == NODES)
    replaced = time.time() - lost_at
    until(lambda: len(sleeper.begun(folder / "marks")) > len(before))
    seconds = float(sleeper.begun(folder / "marks")[-1]["at"]) - lost_at
    print(
        f"  {how}: told {told:.1f}, replaced {replaced:.1f}, trains {seconds:.1f} s",
        flush=True,
    )
    time.sleep(2 * EPOCH_SECONDS)
    return seconds


def _events(folder: Path) -> list[dict[str, Any]]:
    return read_journal(folder / "run" / "journal.jsonl")
