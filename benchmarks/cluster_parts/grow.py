"""From no node to six that train, and from the campaign's end to none.

Grow: from just before the process `pcsearch tune` is started until the sixth node's first training
step begins. On the way: until its trial's worker process is there, which is yet to import PyTorch,
on this machine's cores like the other five. The autoscaler looks once a second, and starts fake
nodes one after the other. Idle: from the last line of the campaign's journal until the last raylet
has ended, less the idle timeout.
"""

from __future__ import annotations

import time
from pathlib import Path

from data_path_parts.figures import Figure, figure_of

from cluster_parts.campaigns import NODES, ended, start
from tests.cluster import sleeper
from tests.cluster.fake_cluster import FakeCluster, fake_cluster, until
from tests.cluster.heads import commands

IDLE_SECONDS = 6.0


def measure(scratch: Path, repeats: int) -> list[Figure]:
    nodes, workers, grown, gone = [], [], [], []
    with fake_cluster(workers=NODES, idle_seconds=IDLE_SECONDS) as cluster:
        for repeat in range(repeats):
            folder = scratch / str(repeat)
            folder.mkdir()
            began = time.time()
            with start(cluster, folder, trials=NODES, epochs=4, epoch_seconds=2.0) as process:
                came, manned = _watch(cluster, began)
                process.wait()
            ended(process, folder)
            until(lambda: not cluster.nodes())
            over = (folder / "run" / "journal.jsonl").stat().st_mtime
            gone.append(time.time() - over - IDLE_SECONDS)
            marks = sleeper.begun(folder / "marks")[:NODES]
            assert len({mark["node"] for mark in marks}) == NODES, marks
            trained = [mark["at"] - began for mark in marks]
            for values, found in ((nodes, came), (workers, manned), (grown, trained)):
                values.append(found[-1])
            print(f"  nodes {_list(came)}; workers {_list(manned)}; training {_list(trained)}")
            print(f"  gone {gone[-1]:.1f} s after the timeout", flush=True)
    bound = {"at_least": False, "unit": "s"}
    return [
        figure_of("0 to 6 nodes", nodes, **bound),
        figure_of("0 to 6 nodes with a trial's worker", workers, **bound),
        figure_of("0 to 6 nodes that train", grown, wanted=20.0, **bound),
        figure_of("idle nodes gone, past the timeout", gone, wanted=10.0, **bound),
    ]


def _watch(cluster: FakeCluster, began: float) -> tuple[list[float], list[float]]:
    """When each node's raylet was first seen, and on each the worker of a trial.

    One look at all processes in half a second: looking takes processor time from what is measured.
    """
    came: dict[int, float] = {}
    manned: dict[int, float] = {}
    while len(manned) < NODES and time.time() - began < 120:
        now = time.time() - began
        running = commands("ray")
        raylets = {pid for pid, line in running.items() if "/raylet/raylet " in line}
        if len(raylets) > len(came) + 1:  # the head's is another one
            for raylet in cluster.nodes().values():
                came.setdefault(raylet, now)
        for pid, line in running.items():
            if line.startswith("ray::ImplicitFunc") and (parent := _parent(pid)) in came:
                manned.setdefault(parent, now)
        time.sleep(0.5)
    return list(came.values()), list(manned.values())


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # it has just ended
        return 0


def _list(seconds: list[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in seconds)
