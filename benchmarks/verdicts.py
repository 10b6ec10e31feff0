"""Do campaigns that differ in their search seed alone say the same? Real trainings, no Ray.

    python benchmarks/verdicts.py quickstart [KEY=VALUE...] [--seeds 20] [--jobs 2] [--out FILE]
    python benchmarks/verdicts.py quickstart datasets=[digits] --spoil 0.2

Each campaign is the recipe's with another `search.seed`: other start-up points, other training
seeds, other finalists' seeds. Data, splits and code are the same. Trials are trained in this
process, one at a time, with the worker's own `run_trial`. The real `Campaign` decides.

Per study the script prints how often each verdict was given, the mean gain of all campaigns, and
how many of their intervals hold it. `--spoil F` is the check that no verdict is too timid: in the
arm `pc`, λ is 0 and the share F of the training labels is wrong, so that it surely hurts.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np

from pcsearch.errors import DivergedError, TrialError
from pcsearch.execution.preflight.datasets import open_datasets, prepare_datasets
from pcsearch.execution.preflight.model_check import check_networks
from pcsearch.execution.preflight.prepare import plan_recipe
from pcsearch.execution.worker_data import publish_labels
from pcsearch.recipe.load import load_recipe, with_absolute_paths
from pcsearch.recipe.schema import Recipe
from pcsearch.reporting.summary import summarise
from pcsearch.search.campaign import Campaign
from pcsearch.search.journal.journal_file import MemoryJournal
from pcsearch.search.observer import Silent
from pcsearch.search.state import CampaignState


def campaign(recipe_name: str, overrides: Sequence[str], seed: int, spoil: float) -> dict[str, Any]:
    """Run one campaign to its end; a line a study."""
    from pcsearch.execution import trial_run

    recipe = with_absolute_paths(load_recipe(recipe_name, [*overrides, f"search.seed={seed}"]))
    began = time.monotonic()
    with _spoilt(trial_run, spoil):
        state = train_here(recipe)
    summary = summarise(state).to_json()
    summary["seed"], summary["clock_seconds"] = seed, time.monotonic() - began
    return summary


def train_here(recipe: Recipe) -> CampaignState:
    """A campaign to its end, trained in this process, one trial at a time, without Ray."""
    import torch

    from pcsearch.data.cache import default_cache_folder
    from pcsearch.execution import trial_run
    from pcsearch.execution.worker_data import WorkerContext

    torch.set_num_threads(1)
    plan = plan_recipe(
        recipe, open_datasets(recipe), check_networks(recipe, download=False), Silent()
    )
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name in ("data", "checkpoints", "weights"):
            (folder / name).mkdir()
        cache = default_cache_folder()
        for dataset in prepare_datasets(recipe, open_datasets(recipe), cache, lambda *_: None):
            publish_labels(dataset, folder / "data")
        context = WorkerContext(
            recipe=recipe.dump_yaml(),
            cache=str(cache),
            data=str(folder / "data"),
            checkpoints=str(folder / "checkpoints"),
            weights=str(folder / "weights"),
            cpus=1,
            gpus=0.0,
            split_hashes={study.id: study.split_hash for study in plan.studies},
            import_path=str(folder),
        )
        clock = time.monotonic
        one = Campaign(plan, MemoryJournal(), clock=lambda: clock() - began, max_concurrent=1)
        while (spec := one.next_trial()) is not None:
            try:
                with closing(trial_run.run_trial(spec, context)) as reports:
                    for report in reports:
                        goes_on = one.report(
                            spec.trial, report.epoch, report.value, report.seconds,
                            report.metrics, report.test, hits=report.hits,
                        )  # fmt: skip
                        if not goes_on:
                            break
            except DivergedError as error:
                one.diverge(spec.trial, str(error))
            except TrialError as error:
                one.fail(spec.trial, str(error))
    return one.state


@contextmanager
def _spoilt(trial_run: Any, share: float) -> Iterator[None]:
    """In the arm `pc`, train plain cross-entropy on labels of which a share is wrong."""
    batches, settings = trial_run.fit_batches, trial_run.train_config
    arm = ""

    def train_config(recipe: Any, backbone: str, spec: Any, *precision: Any) -> Any:
        nonlocal arm
        arm = spec.arm
        made = settings(recipe, backbone, spec, *precision)
        return made.__class__(**vars(made) | ({"lambda_": 0.0} if arm == "pc" else {}))

    def fit_batches(recipe: Any, dataset: str, training: Any, *rest: Any) -> Any:
        if arm == "pc":
            rng = np.random.default_rng(0)
            labels = training.labels.copy()
            wrong = rng.random(len(labels)) < share
            classes = len(training.class_names)
            labels[wrong] = (labels[wrong] + rng.integers(1, classes, wrong.sum())) % classes
            training = type(training)(**{**vars(training), "labels": labels})
        return batches(recipe, dataset, training, *rest)

    if share:
        trial_run.train_config, trial_run.fit_batches = train_config, fit_batches
    try:
        yield
    finally:
        trial_run.train_config, trial_run.fit_batches = settings, batches


def _one(arguments: tuple[str, tuple[str, ...], int, float]) -> dict[str, Any]:
    return campaign(*arguments)


def told(summaries: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What the campaigns said, a paragraph a study."""
    for index, study in enumerate(summaries[0]["studies"]):
        arms = [summary["studies"][index]["arms"]["pc"] for summary in summaries]
        gains = [arm["gain"]["mean"] for arm in arms]
        mean = fmean(gains)
        words = Counter(arm["verdict"]["word"] for arm in arms)
        held = sum(
            arm["gain"]["low"] is not None and arm["gain"]["low"] <= mean <= arm["gain"]["high"]
            for arm in arms
        )
        spread = stdev(gains) if len(gains) > 1 else 0.0
        yield f"{study['dataset']}/{study['backbone']}: {dict(words)}"
        yield f"  mean gain {mean:+.2f}, SD over campaigns {spread:.2f}"
        yield f"  {held} of {len(arms)} intervals hold it"
        yield "  gains: " + ", ".join(f"{gain:+.1f}" for gain in gains)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="the first search.seed")
    parser.add_argument("--jobs", type=int, default=2, help="campaigns at once, a process each")
    parser.add_argument("--spoil", type=float, default=0.0)
    parser.add_argument("--out", type=Path, help="JSON lines, a campaign each")
    options = parser.parse_args()
    work = [
        (options.recipe, tuple(options.overrides), seed, options.spoil)
        for seed in range(options.first, options.first + options.seeds)
    ]
    summaries = []
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        for summary in pool.imap_unordered(_one, work):
            summaries.append(summary)
            if options.out is not None:
                with options.out.open("a") as file:
                    file.write(json.dumps(summary) + "\n")
            print(f"seed {summary['seed']}: {summary['clock_seconds']:.0f} s", flush=True)
    summaries.sort(key=lambda summary: summary["seed"])
    print("\n".join(told(summaries)))


if __name__ == "__main__":
    main()
