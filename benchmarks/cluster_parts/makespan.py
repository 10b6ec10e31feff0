"""A campaign on six nodes of one CPU ÷ what its trials alone take.

Twelve search trials that none is stopped of, then six confirm trials, so all six nodes are busy to
the end: two waves of search and one of confirm. Ideal is what the steps of one trial of each wave
sleep, summed: no start of anything, no epoch's end, no decision. Measured from the start of the
process `pcsearch tune` to its end, with no node there beforehand; and the same from the moment at
which all six train, to tell growth from the rest. Trials sleep some 100 s, for the starts of six
workers share this machine's cores: a campaign of trials of minutes, not of seconds.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from data_path_parts.figures import Figure

from cluster_parts.campaigns import NODES, STEPS, ended, start
from tests.cluster import sleeper
from tests.cluster.fake_cluster import fake_cluster, until
from tests.e2e.cli import read_journal

EPOCHS, EPOCH_SECONDS, BATCH = 10, 10.0, 32


def measure(scratch: Path, repeats: int) -> list[Figure]:
    with fake_cluster(workers=NODES) as cluster:
        began = time.time()
        trials = 2 * NODES
        with start(
            cluster,
            scratch,
            trials=trials,
            epochs=EPOCHS,
            epoch_seconds=EPOCH_SECONDS,
            seeds=NODES,
            confirm_epochs=EPOCHS,
        ) as process:
            marks = scratch / "marks"
            until(lambda: len(sleeper.begun(marks)) >= NODES)
            process.wait()
        over = time.time()
    ended(process, scratch)
    busy = sleeper.begun(marks)[NODES - 1]["at"]
    events = read_journal(scratch / "run" / "journal.jsonl")
    ideal = _ideal(events[0]["plan"])
    print(f"  ideal {ideal:.1f} s, submit to end {over - began:.1f}, grown {busy - began:.1f}")
    print(f"  lines of the journal: {_gaps(events)}", flush=True)
    return [
        Figure("makespan ÷ ideal, from submit", (over - began) / ideal, 1.10, at_least=False),
        Figure(
            "makespan ÷ ideal, from six that train", (over - busy) / ideal, 1.10, at_least=False
        ),
    ]


def _ideal(plan: dict[str, Any]) -> float:
    images = plan["studies"][0]["images"]
    assert math.ceil(images["fit"] / BATCH) == STEPS, images
    steps = 2 * math.ceil(images["fit"] / BATCH) + math.ceil(images["train"] / BATCH)
    return steps * EPOCHS * EPOCH_SECONDS / STEPS


def _gaps(events: list[dict[str, Any]]) -> str:
    """When trials were asked and when they completed, to see where time goes."""
    asked = [event["t"] for event in events if event["event"] == "asked"]
    done = [event["t"] for event in events if event.get("decision") == "complete"]
    return f"asked {[round(t) for t in asked]}, complete {[round(t) for t in done]}"
