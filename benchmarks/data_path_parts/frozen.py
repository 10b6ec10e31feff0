"""A frozen body: an epoch on cached features, and a whole λ curve from the command line.

`epoch`: two trials of `pcsearch.execution.trial_run.run_trial` in turns: 20 epochs of one with
`train.freeze: body`, and one epoch of one that fine-tunes the whole network. Both train on 1,200
photographs (80 % of those of 50 classes) and validate on 300. The features are in the cache by
then. Checkpoints are written as often as in a campaign, once in the 20 epochs.

`curve`: one `pcsearch tune` with an empty cache, from its start to its end: 20 values of λ/N, each
trained on three splits with a seed each, for 15 epochs. Decoding and features are in the time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data_path_parts.campaigns import tune
from data_path_parts.figures import Figure, figure_of
from data_path_parts.photos import Photos, find_photos
from data_path_parts.timing import in_turns, median, on_cores, ratios

POINTS, SEEDS, EPOCHS = 20, 3, 15
IN_A_TURN = 20
"""Epochs of the frozen body in a turn."""
WEIGHTS = {
    "mobilenet_v2": "mobilenet_v2-imagenet-fp16.pth",
    "squeezenet1_1": "squeezenet1_1-imagenet-features-fp16.pth",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backbone", default="mobilenet_v2", choices=WEIGHTS)
    parser.add_argument("--crop", type=int, default=112)
    parser.add_argument("--epochs", type=int, default=5, help="epochs that are timed, of each")
    parser.add_argument("--repeats", type=int, default=3, help="curves")
    parser.add_argument("--only", choices=("epoch", "curve"))


def measure(options: argparse.Namespace, scratch: Path) -> list[Figure]:
    photos = find_photos(options.data, scratch, options.seed).of_all_classes()
    figures = []
    if options.only != "curve":
        figures += _epochs(options, photos, scratch)
    if options.only != "epoch":
        figures.append(_curves(options, photos, scratch))
    return figures


def _recipe(options: argparse.Namespace, photos: Photos, **sections: Any) -> dict[str, Any]:
    weights = photos.root.resolve().parent / "weights" / WEIGHTS[options.backbone]
    if not weights.is_file():
        raise SystemExit(f"there are no weights {weights}: a frozen body needs some")
    return {
        "name": "frozen",
        "datasets": ["cub200"],
        "backbones": [options.backbone],
        "weights": str(weights),
        "data": {"root": str(photos.root), "classes": list(photos.classes)},
        "image": {"resize": options.crop * 8 // 7, "crop": options.crop, "flip": True},
        "confirm": {"seeds": 0},
        **sections,
    }


def _epochs(options: argparse.Namespace, photos: Photos, scratch: Path) -> list[Figure]:
    from pcsearch import api

    # as many as are timed, those that warm up, and one: the last writes a checkpoint
    epochs = IN_A_TURN * (options.epochs + 3)
    os.environ["PCSEARCH_CACHE"] = str(scratch / "cache")
    runs = {}
    for freeze in ("body", "none"):
        recipe = _recipe(
            options,
            photos,
            search={"trials": 1, "control": "none", "lambda_over_n": 0.1, "lr": 0.01},
            asha={"max_epochs": epochs, "grace_epochs": epochs},
            finalists={"configs": 0, "repeats": 0},
            train={"freeze": freeze},
        )
        file = scratch / f"{freeze}.yaml"
        file.write_text(json.dumps(recipe))  # JSON is YAML
        (plan,) = api.plan_all([str(file)])
        runs[freeze] = _reports(file, plan, scratch / freeze)
    with on_cores(1):
        times = in_turns(
            {
                "body": lambda: [next(runs["body"]) for _ in range(IN_A_TURN)],
                "none": lambda: next(runs["none"]),
            },
            options.epochs,
            warmups=2,
        )
    frozen = [seconds / IN_A_TURN for seconds in times["body"].wall]
    whole = times["none"].wall
    details = {"frozen_seconds": frozen, "fine_tuning_seconds": whole}
    title = f"{options.backbone} at {options.crop}, 1,200 + 300 images"
    milliseconds = [1000 * seconds for seconds in frozen]
    return [
        figure_of(
            f"epoch of a frozen body, {title}",
            milliseconds,
            wanted=20,
            at_least=False,
            unit="ms",
            details=details,
        ),
        figure_of(
            f"epoch of fine-tuning ÷ that, {title}",
            ratios(whole, frozen),
            wanted=200,
            note=f"fine-tuning takes {median(whole):.2f} s",
        ),
    ]


def _reports(file: Path, plan: Any, folder: Path) -> Iterator[object]:
    from pcsearch.cluster.session.capacity import Sizing
    from pcsearch.execution import launch
    from pcsearch.execution.trial_run import run_trial
    from pcsearch.execution.worker_data import WorkerContext
    from pcsearch.recipe.load import load_recipe
    from pcsearch.runs.folder import new_run
    from pcsearch.search.campaign import Campaign
    from pcsearch.search.journal.journal_file import MemoryJournal

    recipe = load_recipe(file)
    spec = Campaign(plan, MemoryJournal(), clock=lambda: 0.0, max_concurrent=1).next_trial()
    if spec is None:
        raise RuntimeError("the campaign asks for no trial")
    with new_run(folder, "trial", recipe.dump_yaml(), {}) as run:
        fields = launch.worker_context(recipe, plan, run, Sizing(1.0, 0.0, 1))
        yield from run_trial(spec, WorkerContext(**fields))


def _curves(options: argparse.Namespace, photos: Photos, scratch: Path) -> Figure:
    values = [0.0, *(float(f"{one:.3g}") for one in np.geomspace(0.005, 0.5, POINTS - 1))]
    seconds, parts = [], []
    for repeat in range(options.repeats):
        recipe = _recipe(
            options,
            photos,
            search={
                "trials": POINTS,
                "control": "none",
                "sampler": "grid",
                "grid": {"lambda_over_n": values},
                "lr": 0.01,
                "seed": options.seed + repeat,
            },
            asha={"max_epochs": EPOCHS, "grace_epochs": EPOCHS},
            finalists={"configs": POINTS, "repeats": SEEDS - 1},
            train={"freeze": "body"},
        )
        cache = scratch / "curve-cache"
        shutil.rmtree(cache, ignore_errors=True)
        run = tune(recipe, scratch / "curve", cache)
        seconds.append(run.ended.seconds)
        parts.append(_parts(run.events))
        print(f"  curve {repeat}: {seconds[-1]:.1f} s, {parts[-1]}", flush=True)
    return figure_of(
        f"λ curve, {POINTS} points × {SEEDS} seeds × {EPOCHS} epochs, {options.backbone} at "
        f"{options.crop}, 1,500 images",
        seconds,
        wanted=60,
        at_least=False,
        unit="s",
        details={"parts": parts},
    )


def _parts(events: list[dict[str, Any]]) -> dict[str, float]:
    """Trials, epochs, and seconds: of the campaign's clock, and of epochs in its workers."""
    epochs = [event for event in events if event["event"] == "epoch"]
    return {
        "trials": sum(event["event"] == "asked" for event in events),
        "epochs": len(epochs),
        "campaign_seconds": round(events[-1]["t"], 1),
        "epoch_seconds": round(sum(event["seconds"] for event in epochs), 1),
    }
