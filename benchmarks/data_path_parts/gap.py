"""Seconds from one trial's end to the first step of the next one in the same worker.

A real campaign of `pcsearch tune` with short trials, as many at once as the machine holds. Its
backbone is the benchmark's own (`timed_network`), so the time stamps are taken inside the workers
by what a user may write, and nothing of pcsearch is patched. A gap runs from the end of a trial's
last validation pass to the start of the next trial's first training step. It thus holds the
measures of that validation, the checkpoint, the report, the campaign's decision and its journal,
Ray's exchange of trials, the next network, its weights and its first batch: an upper bound of what
lies between two trials.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from collections import defaultdict
from pathlib import Path

from data_path_parts.campaigns import birds_recipe, timed_squeezenet, tune
from data_path_parts.figures import Figure, figure_of
from data_path_parts.photos import find_photos

Stamps = list[tuple[str, float]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--trials", type=int, default=54, help="each worker's first does not count")
    parser.add_argument("--epochs", type=int, default=3)


def measure(options: argparse.Namespace, scratch: Path) -> list[Figure]:
    photos = find_photos(options.data, scratch, options.seed)
    log = scratch / "gap.log"
    log.unlink(missing_ok=True)
    recipe = birds_recipe(
        photos,
        trials=options.trials,
        epochs=options.epochs,
        seed=options.seed,
        network=timed_squeezenet(photos, log),
    )
    tune(recipe, scratch / "gap", scratch / "cache")
    gaps = [gap for stamps in read_stamps(log).values() for gap in _gaps(stamps)]
    if not gaps:
        raise SystemExit("no worker ran two trials: give --trials more")
    whole, to_network, building, to_step = (list(column) for column in zip(*gaps, strict=True))
    parts = {
        "last validation pass to the next network": statistics.median(to_network),
        "the network without its weights": statistics.median(building),
        "weights, data and first batch": statistics.median(to_step),
    }
    for part, seconds in parts.items():
        print(f"  {seconds:6.3f} s  {part}")
    note = f"median of {len(whole)} gaps, longest {max(whole):.2f} s"
    return [
        figure_of(
            "gap between two trials of a worker",
            whole,
            wanted=0.3,
            at_least=False,
            unit="s",
            note=note,
            details={"gaps": whole, "parts": parts},
        )
    ]


def read_stamps(log: Path) -> dict[int, Stamps]:
    """The time stamps of each process, in their order."""
    found: dict[int, Stamps] = defaultdict(list)
    for line in log.read_text().splitlines():
        stamp = json.loads(line)
        found[stamp["pid"]].append((stamp["event"], stamp["at"]))
    return found


def _gaps(stamps: Stamps) -> list[tuple[float, float, float, float]]:
    """Each gap of one process, and its parts: until asked, until built, until the first step."""
    gaps = []
    moments: dict[str, float] = {}
    for event, at in stamps:
        if event == "previous_end":
            moments = {}
        moments[event] = at
        if event == "first_step" and "previous_end" in moments:
            ends = [moments[name] for name in ("previous_end", "asked", "built", "first_step")]
            parts = [later - earlier for earlier, later in itertools.pairwise(ends)]
            gaps.append((ends[-1] - ends[0], parts[0], parts[1], parts[2]))
    return gaps
