"""Prepare recipes to run: decode images, try networks, start or join Ray."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pcsearch.cluster.session.capacity import Sizing, one_a_cpu, size_trials
from pcsearch.data.cache import default_cache_folder
from pcsearch.data.dataset import Dataset
from pcsearch.execution.preflight.arm_costs import with_costs
from pcsearch.execution.preflight.datasets import PreparedDataset, prepare_datasets
from pcsearch.execution.preflight.lr_ranges import is_automatic, with_measured
from pcsearch.execution.preflight.model_check import NetworkReport, check_networks, network_sizes
from pcsearch.execution.preflight.precision import with_precision
from pcsearch.printable import printable
from pcsearch.recipe.schema import Recipe
from pcsearch.search.observer import Observer
from pcsearch.search.plan import Plan, build_plan
from pcsearch.search.sampling.start_points import EarlierRun, with_known_points, with_start_points

_TRIAL_MODULES = (
    "ray.tune",
    "torch._dynamo",
    "pcsearch.execution.worker",
    "pcsearch.execution.trial_run",
)
"""What a trial imports. PyTorch's optimizers import its compiler (`torch._dynamo`)."""


@dataclass(frozen=True)
class PreparedCampaign:
    """A recipe that is ready: its images are decoded, its networks tried, Ray runs."""

    recipe: Recipe
    datasets: tuple[PreparedDataset, ...]
    plan: Plan
    sizing: Sizing
    weights: tuple[str, ...]
    """The source of each network's weights, a sentence each."""
    address: str | None
    """The Ray cluster that was joined; None if Ray was started here or already ran."""
    one_machine: bool


OnPlan = Callable[[Recipe, Plan], None]


@contextlib.contextmanager
def prepare_campaigns(
    recipes: Sequence[Recipe],
    opened: Sequence[Mapping[str, Dataset]],
    address: str | None,
    observer: Observer,
    early: bool = False,
    about: Mapping[str, str] | None = None,
    begun: Plan | None = None,
    earlier: Sequence[Sequence[EarlierRun]] | None = None,
    on_plan: OnPlan = lambda recipe, plan: None,
) -> Iterator[list[PreparedCampaign]]:
    """Start or join Ray in the background, and prepare every recipe during these seconds.

    Args:
        recipes: What to prepare.
        opened: Each recipe's datasets by id.
        address: The Ray cluster to join; None uses this machine.
        observer: Receives progress and notes.
        early: Whether to request the first recipe's nodes from the cluster at once.
        about: Metadata for the cluster's list of campaigns.
        begun: The plan of a resumed campaign: its ranges and start points are reused.
        earlier: Each recipe's earlier runs, for the start points of a new plan.
        on_plan: Called with each recipe and its plan before learning rates are measured, if trials
            run on this machine.
    """
    from pcsearch.cluster.session.session import is_running, ray_session
    from pcsearch.execution.node_watch import early_nodes

    one_machine = address is None and not is_running()
    preload = _TRIAL_MODULES if all(one_a_cpu(recipe.resources) for recipe in recipes) else ()
    with ray_session(address, preload, about or {}) as capacity:  # Ray starts in the background
        if address is not None:
            capacity()  # report a wrong address before minutes of decoding
        networks = [_check_networks(recipe, observer) for recipe in recipes]
        with early_nodes(recipes[0], capacity()) if early else contextlib.nullcontext():
            prepared = [
                _prepare(recipe, datasets, observer)
                for recipe, datasets in zip(recipes, opened, strict=True)
            ]
            plans = [
                _plan(
                    recipe,
                    datasets,
                    reports,
                    observer,
                    begun,
                    priors,
                    on_plan if one_machine else None,
                    here=one_machine,
                )
                for recipe, datasets, reports, priors in zip(
                    recipes, prepared, networks, earlier or [()] * len(recipes), strict=True
                )
            ]
            if one_machine:  # workers of a cluster compute them where they train
                for recipe, datasets, plan in zip(recipes, prepared, plans, strict=True):
                    _compute_features(recipe, datasets, plan, observer)
            import pcsearch.execution.tuner  # noqa: F401  takes a second while Ray starts

            all_ready = [
                PreparedCampaign(
                    recipe=recipe,
                    datasets=datasets,
                    plan=plan,
                    sizing=size_trials(recipe.resources, capacity()),
                    weights=tuple(line for report in reports for line in report.sentences()),
                    address=address,
                    one_machine=one_machine,
                )
                for recipe, datasets, plan, reports in zip(
                    recipes, prepared, plans, networks, strict=True
                )
            ]
        yield all_ready


def _compute_features(
    recipe: Recipe, datasets: Sequence[PreparedDataset], plan: Plan, observer: Observer
) -> None:
    """Put the features of training images into the cache, for studies with a frozen body."""
    frozen = [study for study in plan.studies if study.frozen_body]
    if not frozen:
        return
    from pcsearch.execution.frozen_body import compute_features

    training = {dataset.facts.dataset: dataset.training for dataset in datasets}
    for study in frozen:
        what = f"{study.id}: features"
        compute_features(
            recipe,
            study,
            training[study.dataset],
            lambda done, total, what=what: observer.preparing(what, done, total),  # type: ignore[misc]
        )


def plan_recipe(
    recipe: Recipe,
    opened: Mapping[str, Dataset],
    networks: Sequence[NetworkReport],
    observer: Observer,
    earlier: Sequence[EarlierRun] = (),
    on_plan: OnPlan | None = None,
) -> Plan:
    """The plan of a recipe. Decodes its images into the cache and measures its `auto` ranges."""
    prepared = _prepare(recipe, opened, observer)
    return _plan(recipe, prepared, networks, observer, earlier=earlier, on_plan=on_plan)


def _check_networks(recipe: Recipe, observer: Observer) -> tuple[NetworkReport, ...]:
    """Try every network, and report the source of its weights."""
    reports = check_networks(recipe)
    for report in reports:
        for line in report.sentences():
            observer.noted(line)
    return reports


def _prepare(
    recipe: Recipe, datasets: Mapping[str, Dataset], observer: Observer
) -> tuple[PreparedDataset, ...]:
    for dataset in datasets.values():
        for note in dataset.notes:
            observer.noted(printable(f"{dataset.id}: {note}"))
    needs_test = recipe.confirm.seeds > 0
    return prepare_datasets(
        recipe, datasets, default_cache_folder(), observer.preparing, needs_test
    )


def _plan(
    recipe: Recipe,
    prepared: Sequence[PreparedDataset],
    networks: Sequence[NetworkReport],
    observer: Observer,
    begun: Plan | None = None,
    earlier: Sequence[EarlierRun] = (),
    on_plan: OnPlan | None = None,
    *,
    here: bool = True,
) -> Plan:
    facts = [dataset.facts for dataset in prepared]
    plan = build_plan(recipe, facts, network_sizes(recipe, networks))
    plan = with_precision(plan, recipe, begun, observer, here=here)
    if plan.match == "seconds":
        plan = with_costs(plan, recipe, begun, observer)
    if on_plan is not None:
        on_plan(recipe, plan)
    if is_automatic(plan):
        _compute_features(recipe, prepared, plan, observer)  # for the range tests, with all CPUs
        plan = with_measured(plan, recipe, prepared, begun, observer)
    if begun is not None:
        return with_known_points(plan, begun)
    held_out = {dataset.facts.dataset for dataset in prepared if dataset.training.held_out}
    plan, lines = with_start_points(plan, earlier, held_out)
    for line in lines:
        observer.noted(line)
    return plan
