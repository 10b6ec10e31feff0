"""Seconds an epoch of a whole search: two ordinary programs ÷ pcsearch.

Twelve trials of at most nine epochs under successive halving (rungs at 1 and 3), λ/N and learning
rate searched by TPE, SqueezeNet 1.1 at 112 pixels, batches of 32, on ten look-alike birds:
  optuna   `baselines/optuna_loop.py`, trial after trial with torch's own threads
  ray      `baselines/ray_example.py`, one CPU a trial, as many at once as there are CPUs
  cold     `pcsearch tune` with an empty image cache, decoding included
  warm     the same with the decoded images of `cold`
Each is a process of its own, timed from start to end with imports, Ray's start and end and all.
Which trials are stopped differs with their order, so the time is divided by the epochs that were
trained, which each prints. All train and validate on as many images, in float32, and should reach
about the same accuracy: it is printed. With `--bfloat16`, pcsearch trains in bfloat16, and with
`--bfloat16-baselines` the other programs, too. The baselines keep torch's default memory format, as
ordinary programs do; pcsearch's default, channels last, is part of what is compared.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_path_parts.campaigns import BENCHMARKS, birds_recipe, run_process, squeezenet, tune
from data_path_parts.figures import Figure, figure_of
from data_path_parts.photos import Photos, enlarged, find_photos
from data_path_parts.timing import median, ratios

PROGRAMS = {"optuna": "optuna_loop.py", "ray": "ray_example.py"}
WANTED = {False: {"optuna": 2.2, "ray": 1.6}, True: {"optuna": 2.5, "ray": 2.0}}
"""As the photographs are, and enlarged to 500 × 375."""


@dataclass(frozen=True)
class _Searched:
    seconds: float
    epochs: int
    best: float
    images: list[int]

    @property
    def seconds_per_epoch(self) -> float:
        return self.seconds / self.epochs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--size", help="enlarge the photographs first, as in 500x375")
    parser.add_argument("--bfloat16", action="store_true", help="pcsearch trains in bfloat16")
    parser.add_argument("--bfloat16-baselines", action="store_true", help="the others do")
    parser.add_argument("--optuna-loader-workers", type=int, default=2)
    parser.add_argument("--ray-loader-workers", type=int, default=2, help="of each trial")
    parser.add_argument(
        "--persistent-workers", action="store_true", help="the baselines' loaders keep theirs"
    )


def measure(options: argparse.Namespace, scratch: Path) -> list[Figure]:
    photos = find_photos(options.data, scratch, options.seed)
    if options.size:
        width, height = map(int, options.size.split("x"))
        photos = enlarged(photos, width, height, scratch / "enlarged")
    runs: dict[str, Callable[[int], _Searched]] = {
        "optuna": lambda n: _baseline("optuna", options, photos, scratch, n),
        "ray": lambda n: _baseline("ray", options, photos, scratch, n),
        "ours": lambda n: _ours("cold", options, photos, scratch, n),
    }
    found: dict[str, list[_Searched]] = {name: [] for name in (*runs, "warm")}
    for number in range(options.repeats):
        for name in list(runs) if number % 2 == 0 else list(reversed(runs)):
            _note(name, runs[name](number), found)
            if name == "ours":
                _note("warm", _ours("warm", options, photos, scratch, number), found)
    return [
        _figure(program, mine, found, options) for mine in ("ours", "warm") for program in PROGRAMS
    ]


def _note(name: str, searched: _Searched, found: dict[str, list[_Searched]]) -> None:
    found[name].append(searched)
    print(
        f"  {name:6} {searched.seconds:7.1f} s  {searched.epochs:4} epochs  "
        f"{searched.seconds_per_epoch:6.3f} s an epoch  best val top-1 {searched.best:5.1f} %  "
        f"{searched.images[0]} + {searched.images[1]} images an epoch",
        flush=True,
    )


def _figure(
    program: str, mine: str, found: dict[str, list[_Searched]], options: argparse.Namespace
) -> Figure:
    each = {name: [s.seconds_per_epoch for s in searches] for name, searches in found.items()}
    best = {name: median([s.best for s in found[name]]) for name in (program, mine)}
    size = f", {options.size}" if options.size else ""
    cache = "cold" if mine == "ours" else "warm"
    return figure_of(
        f"search: {program} ÷ ours, {cache} cache{size}",
        ratios(each[program], each[mine]),
        wanted=WANTED[bool(options.size)][program] if mine == "ours" else None,
        note=f"best val top-1 {best[program]:.1f} and {best[mine]:.1f} %",
        details={name: [vars(s) for s in found[name]] for name in (program, mine)},
    )


def _baseline(
    name: str, options: argparse.Namespace, photos: Photos, scratch: Path, number: int
) -> _Searched:
    folder = scratch / name
    shutil.rmtree(folder, ignore_errors=True)
    workers = options.optuna_loader_workers if name == "optuna" else options.ray_loader_workers
    command = [sys.executable, str(BENCHMARKS / "baselines" / PROGRAMS[name])]
    command += ["--folder", str(photos.folder), "--classes", *map(str, photos.classes)]
    command += ["--trials", str(options.trials), "--epochs", str(options.epochs)]
    command += ["--seed", str(options.seed + number), "--loader-workers", str(workers)]
    if photos.weights:
        command += ["--weights", str(photos.weights)]
    if options.bfloat16_baselines:
        command.append("--bfloat16")
    if options.persistent_workers:
        command.append("--persistent-workers")
    # a cluster that happens to run here, or ran and was killed, would be joined otherwise
    ended = run_process(command, folder, {"RAY_ADDRESS": "local"})
    last: dict[str, Any] = json.loads(ended.out.strip().splitlines()[-1])
    return _Searched(ended.seconds, last["epochs"], last["best"], last["images"])


def _ours(
    which: str, options: argparse.Namespace, photos: Photos, scratch: Path, number: int
) -> _Searched:
    cache = scratch / "search-cache"
    if which == "cold":
        shutil.rmtree(cache, ignore_errors=True)
    recipe = birds_recipe(
        photos,
        trials=options.trials,
        epochs=options.epochs,
        seed=options.seed + number,
        network=squeezenet(photos),
    )
    if options.bfloat16:
        recipe["train"]["amp"] = "cpu"
    campaign = tune(recipe, scratch / "ours", cache)
    counts = campaign.events[0]["plan"]["studies"][0]["images"]
    images = [counts["fit"], counts["val"]]
    return _Searched(campaign.ended.seconds, campaign.epochs, campaign.best, images)
