"""`pcsearch tune` as a user starts it: a process of its own, timed from its start to its end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pcsearch
from data_path_parts.photos import Photos

BENCHMARKS = Path(__file__).resolve().parents[1]
PACKAGE = Path(pcsearch.__file__).resolve().parents[1]
LIMIT_SECONDS = 3600


@dataclass(frozen=True)
class Ended:
    """A process that ended well.

    Attributes:
        started: CLOCK_MONOTONIC just before it was started; `started_unix` is the same moment.
        seconds: wall time until it was gone.
        out: its standard output.
    """

    started: float
    started_unix: float
    seconds: float
    out: str


def run_process(
    command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
) -> Ended:
    """Run to the end in `folder`; SystemExit with all its output if it fails."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(PACKAGE), str(BENCHMARKS)]),
        "RAY_USAGE_STATS_ENABLED": "0",
        **(environment or {}),
    }
    started, started_unix = time.monotonic(), time.time()
    process = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        text=True,
        capture_output=True,
        timeout=LIMIT_SECONDS,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    seconds = time.monotonic() - started
    if process.returncode != 0:
        log = folder / "failed.log"
        log.write_text(f"{' '.join(command)}\n{process.stdout}\n{process.stderr}")
        raise SystemExit(
            f"exit code {process.returncode} of {' '.join(command)}\n"
            f"{process.stdout[-4000:]}\n{process.stderr[-4000:]}"
        )
    return Ended(started, started_unix, seconds, process.stdout)


@dataclass(frozen=True)
class Campaign:
    """A finished campaign: its process, and the events of its journal."""

    ended: Ended
    folder: Path
    events: list[dict[str, Any]]

    @property
    def epochs(self) -> int:
        return sum(event["event"] == "epoch" for event in self.events)

    @property
    def best(self) -> float:
        """The best validation top-1, in percent, of any epoch."""
        return max(event["value"] for event in self.events if event["event"] == "epoch")


def tune(recipe: Mapping[str, Any], folder: Path, cache: Path) -> Campaign:
    """Run a recipe in a new folder, with its decoded images under `cache`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(json.dumps(recipe))  # JSON is YAML
    command = [sys.executable, "-m", "pcsearch", "tune", "recipe.yaml", "--name=run", "--plain"]
    ended = run_process(command, folder, {"PCSEARCH_CACHE": str(cache)})
    run = folder / "runs" / "run"
    events = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    failed = [event for event in events if event["event"] == "failed"]
    if failed:
        raise SystemExit(f"a trial failed: {failed[0]['error']}")
    return Campaign(ended, run, events)


def birds_recipe(
    photos: Photos, *, trials: int, epochs: int, seed: int, network: Mapping[str, Any]
) -> dict[str, Any]:
    """A search of λ/N and learning rate on the look-alikes: no control, finalists or confirm."""
    return {
        "name": "birds",
        "datasets": ["cub200"],
        "data": {"root": str(photos.root), "classes": list(photos.classes)},
        "image": {"resize": 128, "crop": 112, "flip": True},
        "search": {
            "trials": trials,
            "control": "none",
            "lambda_over_n": [0.05, 0.15],
            "lr": {"low": 0.001, "high": 0.02, "log": True},
            "seed": seed,
        },
        "asha": {"max_epochs": epochs, "grace_epochs": 1, "reduction_factor": 3},
        "finalists": {"configs": 0, "repeats": 0},
        "confirm": {"seeds": 0},
        "train": {
            "batch_size": 32,
            "optimizer": "sgd",
            "momentum": 0.9,
            "weight_decay": 1e-4,
            "schedule": "linear",
            "warmup_epochs": 0.5 if epochs > 1 else 0,
            "clip_norm": 5,
        },
        **network,
    }


def squeezenet(photos: Photos) -> dict[str, Any]:
    """The shipped backbone."""
    return {"backbones": ["squeezenet1_1"], "weights": _weights(photos)}


def timed_squeezenet(photos: Photos, log: Path) -> dict[str, Any]:
    """The same network as a backbone of the benchmark's own, which notes when it is used."""
    name = "data_path_parts.timed_network:build"
    return {
        "backbones": [name],
        "backbone_options": {name: {"log": str(log)}},
        "weights": _weights(photos),
    }


def _weights(photos: Photos) -> str:
    return str(photos.weights) if photos.weights else "none"
