"""Resume a campaign: read its journal, check that images and recipe are unchanged, and run it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import PurePosixPath

from pcsearch.code_consent import check_outside, check_unchanged, recall, remember
from pcsearch.errors import UserError
from pcsearch.execution.launch import Outcome, finish, run_in
from pcsearch.execution.preflight.datasets import open_datasets
from pcsearch.execution.preflight.prepare import prepare_campaigns
from pcsearch.io import own_text
from pcsearch.recipe.extend import check_extension
from pcsearch.recipe.load import load_recipe, parse_recipe, read_resolved, with_absolute_paths
from pcsearch.recipe.problems import show
from pcsearch.recipe.schema import Recipe
from pcsearch.recipe.search_space import Space
from pcsearch.runs.find import Runs, check_place, find_run, held
from pcsearch.runs.folder import READ_AT_MOST_BYTES, RunFolder, shown_address
from pcsearch.runs.prior_runs import with_earlier_runs
from pcsearch.search.campaign import Campaign
from pcsearch.search.next_trial import arms_of, nothing_left, search_open
from pcsearch.search.observer import Observer
from pcsearch.search.plan import Plan, StudyPlan
from pcsearch.search.sampling.start_points import EarlierRun
from pcsearch.search.state import CampaignState

_STATED = (
    "metric", "seed", "sampler", "max_epochs", "grace_epochs", "reduction_factor", "rung_rule",
    "full_trainings", "widen", "finalist_configs", "finalist_repeats", "confirm_epochs",
)  # fmt: skip
"""Fields of a plan that come straight from the recipe and that no widening changes."""

_NOTHING_LEFT = (
    "nothing is left to run; widen it, for example with search.trials=40 or confirm.seeds=5"
)


def resume_run(
    run: str | None,
    overrides: Sequence[str],
    *,
    runs: Runs,
    address: str | None,
    observer: Observer,
) -> Outcome:
    """Resume a run; see `pcsearch.api.resume`."""
    with held(find_run(run, runs, begun=False)) as folder:
        state = folder.trusted_state() if folder.has_begun else None
        if state is not None and state.recipe is not None:  # a widening may have been interrupted
            folder.write_text("recipe.yaml", state.recipe)
        before = _stated_recipe(folder, state)
        recipe = _with(before, overrides)
        wider = recipe != before
        if state is not None and not wider and nothing_left(state):
            observer.history(folder.events())
            observer.noted(_NOTHING_LEFT)
            observer.started(shown_address(folder.address), state.plan, 0)
            outcome = finish(folder, state)
            observer.finished(outcome.summary.status)
            return outcome
        check_place(folder.address)
        _check_code(folder, before, recipe)
        begun = None if state is None else state.plan
        earlier: tuple[EarlierRun, ...] = ()
        if begun is None:  # later, the journal holds the results of earlier runs
            recipe, earlier = with_earlier_runs(recipe, runs)
        opened, place = open_datasets(recipe), str(folder.address)
        name = PurePosixPath(place).name
        about = {"recipes": f"{name}, resumed", "runs": place, "name": name}
        with prepare_campaigns(
            [recipe], [opened], address, observer, about=about, begun=begun, earlier=[earlier]
        ) as (ready,):
            if state is not None:
                _check_same(state.plan, ready.plan)
                _check_recipe(state.plan, ready.plan)

            def go_on(campaign: Campaign) -> None:
                if state is None:
                    return
                who = {"host": socket.gethostname(), "pid": os.getpid()}
                now = ready.plan.sampler_version
                began_with = campaign.plan.sampler_version
                campaign.resume(**who, version=version("pcsearch"), sampler_version=now)
                if wider:
                    campaign.extend(ready.plan, recipe.dump_yaml())
                    folder.write_text("recipe.yaml", recipe.dump_yaml())
                for line in _other_sampler(campaign.state, began_with, now):
                    observer.noted(line)

            folder.make_folders()
            if wider and state is None:  # the journal will start with the wider plan
                folder.write_text("recipe.yaml", recipe.dump_yaml())
            return run_in(folder, ready, observer, state, go_on)


def _check_code(folder: RunFolder, before: Recipe, recipe: Recipe) -> None:
    """Check consent to the user's code. A run that began here keeps it; others need it again."""
    check_outside(folder.path, recipe.code)
    if folder.url is None:  # others may write to a bucket, so its consent is not remembered
        recall(folder.path, before.code)
        remember(folder.path, recipe.code)
    check_unchanged(recipe.code, _began_with(folder))


def _began_with(folder: RunFolder) -> Mapping[str, object]:
    """Hashes of the user's code at the run's start; empty if the run does not say."""
    try:
        stored = json.loads(
            own_text(folder.path / "environment.json", READ_AT_MOST_BYTES) or "{}"
        ).get("code")
    except (ValueError, AttributeError, RecursionError):  # damaged, or no mapping
        return {}
    return stored if isinstance(stored, dict) else {}


def _other_sampler(state: CampaignState, began_with: str | None, now: str | None) -> Iterator[str]:
    """A sentence if another version of the sampler proposes the remaining search trials."""
    searches = any(search_open(state, place) for place in arms_of(state))
    if searches and began_with is not None and began_with != now:
        yield (
            f"The campaign began with {began_with}, but {now} proposes its further search trials: "
            "they may differ from those of an uninterrupted run"
        )


def _stated_recipe(folder: RunFolder, state: CampaignState | None) -> Recipe:
    """The recipe of the campaign's last start or resumption."""
    if state is not None and state.recipe is not None:
        return parse_recipe(state.recipe)
    return read_resolved(folder.path / "recipe.yaml")


def _with(before: Recipe, overrides: Sequence[str]) -> Recipe:
    """The recipe with the overrides; UserError lists all their problems."""
    if not overrides:
        return before
    try:
        after = with_absolute_paths(load_recipe(before.to_mapping(), overrides))
    except UserError as error:
        raise UserError(f"{error}{_also_refused(before, overrides)}") from None
    check_extension(before, after)
    return after


def _also_refused(before: Recipe, overrides: Sequence[str]) -> str:
    """The widenings that would be refused, among the overrides that are valid."""
    readable: list[str] = []
    for override in overrides:
        with contextlib.suppress(UserError):
            load_recipe(before.to_mapping(), [*readable, override])
            readable.append(override)
    try:
        _with(before, readable)
    except UserError as error:
        return f"\n{error}"
    return ""


def _check_same(before: Plan, now: Plan) -> None:
    """Check that the images are those that the campaign began with."""
    for study in before.studies:
        found = next((other for other in now.studies if other.id == study.id), None)
        if found is None:
            raise UserError(
                f"recipe.yaml no longer has the study {study.id}, which the campaign began with; "
                "restore it, or start a new run"
            )
        tested = bool(before.confirm_seeds)
        if _images(found, tested) != _images(study, tested):
            raise UserError(
                f"the images of {study.dataset} are no longer those that the campaign began with. "
                f"Then there were {_described(study)}; now there are {_described(found)}. Restore "
                "the images, or start a new run. If they are unchanged, the campaign began with "
                "another version of pcsearch or Pillow, which splits them differently"
            )


def _described(study: StudyPlan) -> str:
    images = study.images
    return (
        f"{images.train} training and {images.test} test images in {study.num_classes} classes "
        f"(split {study.split_hash})"
    )


def _check_recipe(before: Plan, now: Plan) -> None:
    """Check that recipe.yaml and the journal agree in what may not change.

    A journal of an earlier format may come from a recipe with other defaults, so it is not checked.
    """
    if before.schema_version != now.schema_version:
        return
    pairs = [(key, getattr(before, key), getattr(now, key)) for key in _STATED]
    for study in before.studies:
        for arm in study.arms:
            other = now.study(study.id).arm(arm.name)
            for key in (*arm.space, *other.space):
                if key not in arm.measured:
                    ranges = arm.space.get(key), other.space.get(key)
                    pairs.append((f"the range of {key} of {arm.name}", *ranges))
            pairs.append((f"the fixed values of {arm.name}", arm.fixed, other.fixed))
    for what, old, new in pairs:
        if old != new:
            raise UserError(
                f"recipe.yaml and the journal of this run differ in {what}: one of them was "
                f"changed by hand ({_shown(new)} in the recipe, {_shown(old)} in the journal). "
                "Restore it, or start a new run"
            )


def _shown(value: object) -> str:
    return show(value.to_yaml() if isinstance(value, Space) else value)


def _images(study: StudyPlan, tested: bool) -> object:
    """What must not change. Without confirm seeds, the test images were never opened.

    Left out is what an older journal may not say, and what follows from the rest.
    """
    unknown = {"first_skipped", "test_copies", "val_copies", "majority"} | (
        set() if tested else {"test", "skipped"}
    )
    return study.num_classes, study.images.model_dump(exclude=unknown), study.split_hash
