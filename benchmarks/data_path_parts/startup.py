"""Seconds from the start of `pcsearch tune` until the first training step of any worker.

The process is started as from a shell, with decoded images in the cache and no Ray running. The
first step is stamped by the benchmark's own backbone (see `timed_network`), in the worker, by the
same clock. Such a backbone makes the driver import torch to try it, as weights from a file do too.

`quickstart` does not: its backbone is ours and has no weights. It is started as it is shipped, and
its first step was when the first epoch was in the journal, less the seconds that epoch took.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from data_path_parts.campaigns import (
    LIMIT_SECONDS,
    PACKAGE,
    Campaign,
    birds_recipe,
    timed_squeezenet,
    tune,
)
from data_path_parts.figures import Figure, figure_of
from data_path_parts.gap import read_stamps
from data_path_parts.photos import find_photos


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repeats", type=int, default=7)


def measure(options: argparse.Namespace, scratch: Path) -> list[Figure]:
    photos = find_photos(options.data, scratch, options.seed)
    log = scratch / "startup.log"
    recipe = birds_recipe(
        photos, trials=2, epochs=1, seed=options.seed, network=timed_squeezenet(photos, log)
    )
    runs = []
    for _ in range(options.repeats + 1):  # the first one decodes the images and does not count
        log.unlink(missing_ok=True)
        campaign = tune(recipe, scratch / "startup", scratch / "cache")
        runs.append(_milestones(campaign, log))
    runs = runs[1:]
    shipped = [_quickstart(scratch, number) for number in range(options.repeats + 1)][1:]
    parts = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    for name, seconds in parts.items():
        print(f"  {seconds:6.2f} s  until {name}")
    return [
        figure_of(
            "start of pcsearch tune until the first step",
            [run["the first training step"] for run in runs],
            wanted=8.0,
            at_least=False,
            unit="s",
            note=f"median of {len(runs)} starts, warm image cache",
            details={"milestones": runs},
        ),
        figure_of(
            "the same of pcsearch tune quickstart",
            shipped,
            wanted=8.0,
            at_least=False,
            unit="s",
            note=f"median of {len(shipped)} starts, warm image cache",
        ),
    ]


def _quickstart(scratch: Path, number: int) -> float:
    """Seconds from the start of the shipped recipe's process until its first training step."""
    folder = scratch / f"quickstart-{number}"
    folder.mkdir()
    journal = folder / "runs" / "run" / "journal.jsonl"
    command = [sys.executable, "-m", "pcsearch", "tune", "quickstart", "--name=run", "--plain"]
    environment = os.environ | {
        "PYTHONPATH": str(PACKAGE),
        "PCSEARCH_CACHE": str(scratch / "cache"),
    }
    started = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while (epoch := _first_epoch(journal)) is None:
            if process.poll() is not None or time.monotonic() > started + LIMIT_SECONDS:
                raise SystemExit(f"quickstart trained nothing; see {folder}")
            time.sleep(0.005)
        return time.monotonic() - started - float(epoch["seconds"])
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def _first_epoch(journal: Path) -> dict[str, Any] | None:
    if not journal.exists():
        return None
    whole, _, _ = journal.read_text().rpartition("\n")
    events = (json.loads(line) for line in whole.splitlines())
    return next((event for event in events if event["event"] == "epoch"), None)


def _milestones(campaign: Campaign, log: Path) -> dict[str, float]:
    """Seconds since the process was started."""
    start = campaign.ended.started
    processes = read_stamps(log)
    workers = {pid: s for pid, s in processes.items() if any(e == "first_step" for e, _ in s)}
    drivers = [stamps for pid, stamps in processes.items() if pid not in workers]
    if not workers or not drivers:
        raise SystemExit("the log lacks the driver's or the workers' time stamps")
    first = min(workers.values(), key=lambda stamps: _at(stamps, "first_step"))
    folder_made = (campaign.folder / "environment.json").stat().st_mtime
    return {
        "the driver imports torch": _at(drivers[0], "imported") - start,
        "the driver has tried the network": drivers[0][-1][1] - start,
        "Ray is up and the run folder made": folder_made - campaign.ended.started_unix,
        "a worker imports the network": _at(first, "imported") - start,
        "a worker builds the network": _at(first, "asked") - start,
        "the first training step": _at(first, "first_step") - start,
    }


def _at(stamps: list[tuple[str, float]], event: str) -> float:
    return next(at for name, at in stamps if name == event)
