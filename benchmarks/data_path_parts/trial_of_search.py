"""A trial exactly as a worker runs it, without Ray: planned, asked for, and iterated over."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from data_path_parts.photos import Photos
from pcsearch import api
from pcsearch.cluster.session.capacity import Sizing
from pcsearch.execution import launch as running
from pcsearch.execution.trial_run import TrialReport, run_trial
from pcsearch.execution.worker_data import WorkerContext
from pcsearch.recipe.load import load_recipe
from pcsearch.runs.folder import new_run
from pcsearch.search.campaign import Campaign
from pcsearch.search.journal.journal_file import MemoryJournal


@contextlib.contextmanager
def reports(
    options: argparse.Namespace, photos: Photos, scratch: Path
) -> Iterator[Iterator[TrialReport]]:
    """The reports of the first search trial of a recipe, an epoch each."""
    epochs = options.epochs + 2
    file = scratch / "trial.yaml"
    file.write_text(json.dumps(_recipe(options, photos, epochs)))  # JSON is YAML
    os.environ["PCSEARCH_CACHE"] = str(scratch / "cache")  # the one that `fit` reads, too
    (plan,) = api.plan_all([str(file)])
    recipe = load_recipe(file)
    spec = Campaign(plan, MemoryJournal(), clock=lambda: 0.0, max_concurrent=1).next_trial()
    if spec is None:
        raise RuntimeError("the campaign asks for no trial")
    sizing = Sizing(float(options.threads), float(options.device == "cuda"), 1)
    with new_run(scratch / "runs", "trial", recipe.dump_yaml(), {}) as folder:
        yield run_trial(spec, WorkerContext(**running.worker_context(recipe, plan, folder, sizing)))


def _recipe(options: argparse.Namespace, photos: Photos, epochs: int) -> dict[str, object]:
    return {
        "name": "trial",
        "datasets": ["cub200"],
        "backbones": [options.backbone],
        "weights": "none",
        "data": {"root": str(photos.root), "classes": list(photos.classes)},
        "image": {
            "resize": options.resize or options.crop * 8 // 7,
            "crop": options.crop,
            "flip": True,
        },
        "search": {"trials": 1, "control": "none", "lambda_over_n": 0.1, "lr": 0.001},
        "asha": {"max_epochs": epochs, "grace_epochs": epochs},
        "finalists": {"configs": 0, "repeats": 0},
        "confirm": {"seeds": 0},
        "train": {
            "batch_size": options.batch,
            "channels_last": True,
            "amp": "cpu" if options.bfloat16 else True,
        },
    }
