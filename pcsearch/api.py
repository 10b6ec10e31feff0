"""The main job as a Python function: from a recipe to its summary."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcsearch.data.dataset import Dataset
from pcsearch.errors import UserError
from pcsearch.recipe.load import load_recipe, load_recipes
from pcsearch.recipe.paths import with_absolute_paths
from pcsearch.recipe.schema import Recipe
from pcsearch.results.environment import environment
from pcsearch.results.store import RunFolder, check_free, check_space, new_run
from pcsearch.results.summary import Summary, summarise
from pcsearch.search.campaign import Campaign
from pcsearch.search.facts import PreparedDataset, open_datasets, prepare_datasets
from pcsearch.search.journal import Event, FileJournal
from pcsearch.search.networks import check_networks
from pcsearch.search.observer import Observer, Silent
from pcsearch.search.opened import hand_over
from pcsearch.search.plan import Plan, build_plan
from pcsearch.search.sizing import Sizing, one_a_cpu, size_trials
from pcsearch.search.state import CampaignState, Status
from pcsearch.search.trial import checkpoint_folder

TRIAL_MODULES = (
    "ray.tune",
    "torch._dynamo",
    "pcsearch.search.trainable",
    "pcsearch.search.trial_run",
)
"""What a trial imports; PyTorch's optimizers bring its compiler along."""


@dataclass(frozen=True)
class Outcome:
    """One campaign's end."""

    folder: RunFolder
    state: CampaignState
    summary: Summary


def tune(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *,
    images: str | Path | None = None,
    runs: str | Path = "runs",
    name: str | None = None,
    address: str | None = None,
    observer: Observer | None = None,
) -> Summary:
    """Run one campaign and return its summary.

    Args:
        recipe: A file, the name of a shipped recipe, a mapping with the same keys, or a `Recipe`.
        images: Folder of your own images, one sub-folder a class; sets `data.images`.
        runs: Where the run folder is made.
        name: The run's name; by default the recipe's name and the time.
        address: A running Ray cluster to use; by default Ray is started on this machine.
        observer: Told how the campaign goes.

    Raises:
        UserError: a mistake in the recipe, the images or the options; nothing was started.
    """
    overrides = [] if images is None else [f"data.images={images}"]
    if isinstance(recipe, Recipe):
        recipe = load_recipe(recipe.to_mapping(), overrides)
    else:
        recipe = load_recipe(recipe, overrides)
    (outcome,) = run_recipes(
        [recipe], runs=Path(runs), name=name, address=address, observer=observer or Silent()
    )
    return outcome.summary


def tune_all(
    sources: Sequence[str],
    overrides: Sequence[str] = (),
    *,
    images: Path | None = None,
    runs: Path = Path("runs"),
    name: str | None = None,
    address: str | None = None,
    observer: Observer | None = None,
) -> Iterator[Outcome]:
    """Run several recipes, one campaign after another; yields each one's outcome when it ends.

    All of them are checked and their images prepared before the first one starts.
    """
    recipes = load_recipes(sources, overrides, images)
    yield from run_recipes(
        recipes, runs=runs, name=name, address=address, observer=observer or Silent()
    )


def plan_all(
    sources: Sequence[str],
    overrides: Sequence[str] = (),
    *,
    images: Path | None = None,
    observer: Observer | None = None,
) -> list[Plan]:
    """The plans of recipes, without starting anything (images are decoded into the cache)."""
    recipes = load_recipes(sources, overrides, images)
    datasets = [open_datasets(recipe) for recipe in recipes]
    for recipe in recipes:
        check_networks(recipe, download=False)
    return [
        _plan(recipe, _prepare(recipe, opened, observer or Silent()))
        for recipe, opened in zip(recipes, datasets, strict=True)
    ]


def run_recipes(
    recipes: Sequence[Recipe],
    *,
    runs: Path,
    name: str | None,
    address: str | None,
    observer: Observer,
) -> Iterator[Outcome]:
    """Prepare every recipe, then run them in turn on one Ray session."""
    from pcsearch.cluster.session import is_running, ray_session

    recipes = [with_absolute_paths(recipe) for recipe in recipes]
    if name is not None and len(recipes) > 1:
        raise UserError(f"--name names one run, but there are {len(recipes)} recipes; leave it out")
    names = [name] if name is not None else _free_names(runs, recipes)
    for run_name in names:
        check_free(runs, run_name)
    check_space(runs)
    opened = [open_datasets(recipe) for recipe in recipes]
    one_machine = address is None and not is_running()
    preload = TRIAL_MODULES if all(one_a_cpu(recipe.resources) for recipe in recipes) else ()
    with ray_session(address, preload) as capacity:  # Ray starts in the background
        if address is not None:
            capacity()  # a wrong address is told before images are decoded for minutes
        weights = [_check_networks(recipe, observer) for recipe in recipes]
        prepared = [
            _prepare(recipe, datasets, observer)
            for recipe, datasets in zip(recipes, opened, strict=True)
        ]
        import pcsearch.search.tune_run  # noqa: F401  a second, while Ray is still starting

        sizings = [size_trials(recipe.resources, capacity()) for recipe in recipes]
        jobs = zip(recipes, prepared, sizings, names, weights, strict=True)
        for recipe, datasets, sizing, run_name, sources in jobs:
            with new_run(runs, run_name, recipe.dump_yaml(), environment(sources)) as folder:
                for dataset in datasets:
                    hand_over(dataset, folder.data)
                plan = _plan(recipe, datasets)
                outcome = _run(recipe, plan, sizing, folder, observer, one_machine)
            yield outcome


def _check_networks(recipe: Recipe, observer: Observer) -> list[str]:
    """Try every network; says where the weights come from."""
    sources = [line for report in check_networks(recipe) for line in report.sentences()]
    for line in sources:
        observer.noted(line)
    return sources


def _run(
    recipe: Recipe,
    plan: Plan,
    sizing: Sizing,
    folder: RunFolder,
    observer: Observer,
    one_machine: bool,
) -> Outcome:
    from pcsearch.cluster.quiet import stderr_to_file
    from pcsearch.search.tune_run import run_campaign

    began = time.monotonic()
    status: Status = "failed"
    with FileJournal(folder.journal) as journal:
        campaign = Campaign(
            plan,
            journal,
            clock=lambda: time.monotonic() - began,
            width=sizing.width,
            listener=lambda event, state: _watch(event, state, folder, observer),
        )
        observer.started(folder.path, plan, sizing.width)
        try:
            with stderr_to_file(folder.path / "driver.log"):
                complete = run_campaign(
                    campaign,
                    workplace(recipe, plan, folder, sizing),
                    cpus_per_trial=sizing.cpus_per_trial,
                    gpus_per_trial=sizing.gpus_per_trial,
                    one_machine=one_machine,
                    tick=lambda: observer.tick(
                        campaign.state, time.monotonic() - began, sizing.width
                    ),
                )
            status = _status(campaign, complete)
        except KeyboardInterrupt:
            status = "interrupted"
            raise
        finally:
            try:
                campaign.end(status)
                whole = status != "interrupted" and campaign.done
                folder.finish(summarise(campaign.state).to_json(), whole=whole)
            finally:
                observer.finished(status)
    return Outcome(folder, campaign.state, summarise(campaign.state))


def _status(campaign: Campaign, complete: bool) -> Status:
    if not complete:
        return "interrupted"
    return "failed" if campaign.state.failed_studies() else "complete"


def _watch(event: Event, state: CampaignState, folder: RunFolder, observer: Observer) -> None:
    """Tell the observer, and remove the checkpoints of a trial that ended."""
    if event.get("trial") and event["trial"] not in state.live:
        shutil.rmtree(folder.checkpoints / checkpoint_folder(event["trial"]), ignore_errors=True)
    observer.event(event, state)


def workplace(recipe: Recipe, plan: Plan, folder: RunFolder, sizing: Sizing) -> dict[str, Any]:
    """The fields of `Workplace`, as plain data, for the workers."""
    return {
        "recipe": recipe.dump_yaml(),
        "cache": str(_cache_folder()),
        "data": str(folder.data.resolve()),
        "checkpoints": str(folder.checkpoints.resolve()),
        "weights": str(folder.weights.resolve()),
        "cpus": max(1, int(sizing.cpus_per_trial)),
        "gpus": sizing.gpus_per_trial,
        "split_hashes": {study.id: study.split_hash for study in plan.studies},
        "import_path": str(Path.cwd()),
    }


def _prepare(
    recipe: Recipe, datasets: Mapping[str, Dataset], observer: Observer
) -> tuple[PreparedDataset, ...]:
    needs_test = recipe.confirm.seeds > 0
    return prepare_datasets(recipe, datasets, _cache_folder(), observer.preparing, needs_test)


def _plan(recipe: Recipe, prepared: Sequence[PreparedDataset]) -> Plan:
    return build_plan(recipe, [dataset.facts for dataset in prepared])


def _free_names(runs: Path, recipes: Sequence[Recipe]) -> list[str]:
    """Names such as `quickstart-20261123-141500`, numbered where one would be taken twice."""
    names: list[str] = []
    for recipe in recipes:
        stem = f"{recipe.name}-{time.strftime('%Y%m%d-%H%M%S')}"
        numbered = (f"{stem}-{number}" for number in itertools.count(2))
        candidates = itertools.chain([stem], numbered)
        names.append(next(c for c in candidates if c not in names and not (runs / c).exists()))
    return names


def _cache_folder() -> Path:
    from pcsearch.data.cache import default_cache_folder

    return default_cache_folder()
