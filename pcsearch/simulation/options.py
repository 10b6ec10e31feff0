"""Recipes and options in, simulated campaigns out.

A simulation needs only counts of images. They come from a recorded run, from a listing of the
files, or, if the images are not here, from the catalogue.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from pcsearch.cluster.session.capacity import Node, gpus_of_trial
from pcsearch.data.catalog import DATASETS
from pcsearch.data.dataset import Dataset
from pcsearch.errors import UserError
from pcsearch.execution.preflight.datasets import data_options
from pcsearch.execution.preflight.lr_ranges import with_default, without_automatic
from pcsearch.recipe.load import load_recipes
from pcsearch.recipe.schema import DEFAULT_LR, Recipe
from pcsearch.runs.find import find_run
from pcsearch.runs.prior_runs import all_earlier_runs
from pcsearch.search.campaign import Campaign
from pcsearch.search.observer import Observer
from pcsearch.search.plan import DatasetFacts, ImageCounts, Plan, build_plan
from pcsearch.search.sampling.start_points import EarlierRun, with_start_points
from pcsearch.search.state import CampaignState
from pcsearch.simulation.cluster import ClusterModel
from pcsearch.simulation.curves import Curves, ReplayedCurves, SyntheticCurves
from pcsearch.simulation.outcome import Simulated
from pcsearch.simulation.simulator import simulate

_NO_SPLIT = "0" * 16


def counted(recipe: Recipe, recorded: Plan | None) -> tuple[tuple[DatasetFacts, ...], list[str]]:
    """The facts on each of a recipe's datasets, and a sentence for each with official counts only.

    Raises:
        UserError: a dataset is not recorded, not here, and of unknown size.
    """
    known = {s.dataset: s for s in recorded.studies} if recorded is not None else {}
    facts, notes = [], []
    options = replace(data_options(recipe), near_duplicates="ignore")  # they change no count
    for name in recipe.datasets:
        if name in known:
            study = known[name]
            facts.append(DatasetFacts(name, study.num_classes, study.images, study.split_hash))
            continue
        try:
            facts.append(_listed(recipe, DATASETS[name].reader(options)))
        except UserError as error:
            facts.append(_official(recipe, name, error))
            notes.append(f"{name} is not here; its official counts of images are used")
    return tuple(facts), notes


def _listed(recipe: Recipe, dataset: Dataset) -> DatasetFacts:
    given = None if dataset.given_val is None else len(dataset.given_val)
    test = 0 if dataset.test is None else len(dataset.test.labels)
    train = len(dataset.train.labels)
    return _facts(recipe, dataset.id, len(dataset.class_names), train, given, test)


def _official(recipe: Recipe, name: str, error: UserError) -> DatasetFacts:
    entry = DATASETS[name]
    counts: Mapping[str, int] = entry.images
    chosen = recipe.data.classes
    if entry.classes is None or "train" not in counts:
        raise error
    classes = entry.classes if chosen == "all" else len(chosen)
    share = classes / entry.classes
    given = round(counts["val"] * share) if "val" in counts else None
    train = round(counts["train"] * share) + (given or 0)
    return _facts(recipe, name, classes, train, given, round(counts.get("test", 0) * share))


def _facts(
    recipe: Recipe, name: str, classes: int, train: int, given_val: int | None, test: int
) -> DatasetFacts:
    val = round(train * recipe.data.val_fraction) if given_val is None else given_val
    images = ImageCounts(fit=train - val, val=val, train=train, test=test)
    return DatasetFacts(name, classes, images, _NO_SPLIT)


_IMAGES_PER_SECOND = 500.0
"""The guess without a recorded run and without --images-per-second."""

_CPUS_PER_GPU = _CPUS = 8


@dataclass(frozen=True)
class Options:
    """The simulated cluster and curves; see `pcsearch simulate --help`."""

    nodes: int
    gpus_per_node: int
    cpus_per_node: int | None
    curves: str | None
    images_per_second: float | None
    start_seconds: float
    idle_seconds: float
    always: int
    losses_per_hour: float
    price: float | None
    seed: int

    @classmethod
    def checked(cls, **values: Any) -> Self:
        """The options, checked.

        Raises:
            UserError: no cluster can have such a value. The message names the option.
        """
        options = cls(**values)
        for name in ("start_seconds", "idle_seconds", "losses_per_hour"):
            value = getattr(options, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise UserError(f"--{_option(name)} is {value:g}, but must be 0 or more")
        for name in ("images_per_second", "price"):
            value = getattr(options, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise UserError(f"--{_option(name)} is {value:g}, but must be more than 0")
        if options.always > options.nodes:
            raise UserError(f"--always is {options.always}, but --nodes is {options.nodes}")
        if options.losses_per_hour > 60:
            raise UserError(
                f"--losses-per-hour is {options.losses_per_hour:g}, but must be at most 60: "
                "nothing would ever be trained"
            )
        return options

    @property
    def overrides(self) -> tuple[str, ...]:
        """Overrides for every recipe: a budget in money must use the reported price."""
        return () if self.price is None else (f"budget.price_per_node_hour={self.price!r}",)

    @property
    def node(self) -> Node:
        cpus = self.cpus_per_node or _CPUS_PER_GPU * self.gpus_per_node or _CPUS
        return Node(cpus, self.gpus_per_node)

    def model(self, recipe: Recipe) -> ClusterModel:
        """The cluster, for a recipe's trials.

        Raises:
            UserError: no trial fits on a node.
        """
        cpus = recipe.resources.cpus_per_trial
        gpus = gpus_of_trial(recipe.resources, self.gpus_per_node)
        slots = self.node.max_trials(cpus, gpus)
        if slots < 1:
            raise UserError(
                f"resources: a trial needs {cpus:g} CPUs and {gpus:g} GPUs, but a node has "
                f"{self.node.cpus:g} CPUs and {self.node.gpus:g} GPUs; give larger nodes "
                "(--gpus-per-node, --cpus-per-node), or lower resources.gpus_per_trial or "
                "resources.cpus_per_trial"
            )
        return ClusterModel(
            nodes=self.nodes,
            slots_per_node=slots,
            gpus_per_node=self.gpus_per_node,
            always=self.always,
            start_seconds=self.start_seconds,
            idle_seconds=self.idle_seconds,
            losses_per_hour=self.losses_per_hour,
            price=recipe.budget.price_per_node_hour,
        )


def simulations(
    sources: Sequence[str],
    options: Options,
    *,
    images: Path | None,
    runs: str | Path,
    observer: Observer,
) -> list[Simulated]:
    """Simulate recipes, each on a cluster of its own.

    Raises:
        UserError: a recipe or an option is wrong, or a run is missing.
    """
    loaded = load_recipes([*sources, *options.overrides], (), images, observer.noted, gpus=True)
    recipes, earlier = all_earlier_runs(loaded, runs)
    recorded = None if options.curves is None else find_run(options.curves, runs).trusted_state()
    models = [options.model(recipe) for recipe in recipes]
    return [
        _simulated(recipe, model, options, recorded, observer, priors)
        for recipe, model, priors in zip(recipes, models, earlier, strict=True)
    ]


def _simulated(
    recipe: Recipe,
    model: ClusterModel,
    options: Options,
    recorded: CampaignState | None,
    observer: Observer,
    earlier: Sequence[EarlierRun],
) -> Simulated:
    facts, notes = counted(recipe, None if recorded is None else recorded.plan)
    known = None if recorded is None else recorded.plan
    plan, unknown = without_automatic(build_plan(recipe, facts), known)
    if unknown:
        plan = with_default(plan)
        notes.append(
            "search.lr: auto is not measured in a simulation; "
            f"{DEFAULT_LR.low:g} to {DEFAULT_LR.high:g} is used for {', '.join(unknown)}"
        )
    plan, lines = with_start_points(plan, earlier)
    notes += lines
    rate = options.images_per_second
    curves: Curves = SyntheticCurves(plan, options.seed, rate or _IMAGES_PER_SECOND)
    if recorded is None:
        if rate is None:
            notes.append(
                f"each trial is assumed to train on {_IMAGES_PER_SECOND:g} images a second, which "
                "is a guess: give --images-per-second, or --curves of a short real run"
            )
        notes.append("learning curves are made up")
    else:
        replayed = ReplayedCurves(recorded, curves)
        missing = [study.id for study in plan.studies if study.id not in replayed.studies]
        if missing:
            notes.append(f"not recorded, so curves are made up: {', '.join(missing)}")
        curves = replayed
    for note in notes:
        observer.noted(note)
    limit = recipe.resources.max_concurrent

    def progress(campaign: Campaign, seconds: float) -> None:
        planned = sum(arm.trials for study in plan.studies for arm in study.arms)
        ended = len(campaign.state.trials) - len(campaign.state.running)
        observer.preparing(f"{plan.name}: search trials", min(ended, planned), planned)

    return simulate(
        plan,
        model,
        curves,
        max_concurrent=None if limit == "auto" else limit,
        seed=options.seed,
        progress=progress,
    )


def _option(name: str) -> str:
    return {"idle_seconds": "idle-minutes"}.get(name, name.replace("_", "-"))
