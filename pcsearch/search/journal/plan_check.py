"""Checks that a plan read from a journal could have come from a recipe.

Its types alone do not ensure that. Names become folders, a rung of 0 epochs would never end, and an
arm that borrows from a missing arm has nothing to choose.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pcsearch.arms import ARMS, search_keys
from pcsearch.recipe.fields import NAME, NAME_LENGTH
from pcsearch.recipe.problems import show
from pcsearch.recipe.search_space import Space
from pcsearch.search.journal.events import LARGEST_INTEGER, ArmName, NewerError, StudyId, told
from pcsearch.search.plan import JOURNAL_SCHEMA, READABLE, ArmPlan, Plan, StudyPlan
from pcsearch.training.metrics import deciding_metrics

_WORD = re.compile(r"[A-Za-z0-9_-]{1,100}")
_STUDY_ID: TypeAdapter[str] = TypeAdapter(StudyId)
_ARM_NAME: TypeAdapter[str] = TypeAdapter(ArmName)


def read_plan(raw: Mapping[str, Any]) -> Plan:
    """The plan in a journal.

    Raises:
        ValueError: the plan is wrong; one line says how.
    """
    written = raw.get("schema_version", JOURNAL_SCHEMA)
    if written not in READABLE or isinstance(written, bool):
        raise NewerError(
            f"the journal has format {show(written)}, but this version reads formats up to "
            f"{JOURNAL_SCHEMA}"
        )
    try:
        plan = Plan.model_validate(raw)
    except ValidationError as error:
        raise told(error, "the plan's") from None
    for problem in _problems(plan):
        raise ValueError(f"the plan's {problem}")
    return plan


def check_wider(old: Plan, new: Plan) -> None:
    """Check that a wider plan keeps all studies and arms of the old one, so that no trial is lost.

    Raises:
        ValueError: a study or an arm is missing.
    """
    kept = {study.id: {arm.name for arm in study.arms} for study in new.studies}
    for study in old.studies:
        if not {arm.name for arm in study.arms} <= kept.get(study.id, set()):
            raise ValueError(f"the wider plan leaves out {study.id}, or an arm of it")


def _problems(plan: Plan) -> Iterator[str]:
    if not NAME.fullmatch(plan.name) or len(plan.name) > NAME_LENGTH:
        yield f"name is {show(plan.name)}, which is not a valid folder name"
    if plan.metric not in deciding_metrics():
        yield f"metric is {show(plan.metric)}, but must be one of {', '.join(deciding_metrics())}"
    if not _WORD.fullmatch(plan.sampler):
        yield f"sampler is {show(plan.sampler)}"
    least = {"max_epochs": 1, "grace_epochs": 1, "reduction_factor": 2, "confirm_epochs": 1}
    counts = ("startup_trials", "finalist_configs", "finalist_repeats", "seed", "full_trainings")
    for name in (*least, *counts):
        yield from _outside(name, getattr(plan, name), least.get(name, 0), 2**63)
    for name in ("budget_seconds", "budget_cost", "price_per_node_hour"):
        amount = getattr(plan, name)
        if amount is not None and not (math.isfinite(amount) and 0 <= amount <= 1e12):
            yield f"{name} is {show(amount)}"
    if plan.budget_cost is not None and plan.price_per_node_hour is None:
        yield "budget_cost needs price_per_node_hour"
    seeds = plan.confirm_seeds
    if len(set(seeds)) < len(seeds) or not all(0 <= seed < 2**63 for seed in seeds):
        yield "confirm_seeds must be different whole numbers of at least 0"
    looks = plan.confirm_looks
    if looks and (min(looks) < 1 or list(looks) != sorted(set(looks)) or looks[-1] != len(seeds)):
        yield f"confirm_looks are {show(list(looks))}, but must rise to the number of confirm_seeds"
    ids = [study.id for study in plan.studies]
    if not ids or len(set(ids)) < len(ids):
        yield "studies are empty, or two have the same id"
    for study in plan.studies:
        for problem in _study_problems(study):
            yield f"{show(study.id)}: {problem}"


def _study_problems(study: StudyPlan) -> Iterator[str]:
    if not _matches(_STUDY_ID, study.id) or study.id != f"{study.dataset}/{study.backbone}":
        yield "the id is not DATASET/BACKBONE"
    if not _WORD.fullmatch(study.split_hash):
        yield f"split_hash is {show(study.split_hash)}"
    yield from _outside("num_classes", study.num_classes, 1)
    yield from _outside("checkpoint_bytes", study.checkpoint_bytes or 0, 0, 2**63)
    for part in ("fit", "val", "train", "test", "skipped"):
        yield from _outside(f"images.{part}", getattr(study.images, part), 0)
    for part in ("test", "val"):
        copies = getattr(study.images, f"{part}_copies") or 0
        yield from _outside(f"images.{part}_copies", copies, 0, getattr(study.images, part))
    names = [arm.name for arm in study.arms]
    if not names or len(set(names)) < len(names):
        yield "arms are empty, or two have the same name"
    for arm in study.arms:
        for problem in _arm_problems(arm, names):
            yield f"{show(arm.name)}: {problem}"
    yield from _point_problems(study)


def _point_problems(study: StudyPlan) -> Iterator[str]:
    """A start point needs a value in each searched range; half of the trials must be left over."""
    searching = {arm.name: arm.space for arm in study.arms if arm.borrows is None}
    most = min((arm.trials for arm in study.arms if arm.borrows is None), default=0) // 2
    yield from _outside("start_points", len(study.start_points), 0, most)
    for number, point in enumerate(study.start_points):
        where = f"start point {number}"
        if not all(
            text.isprintable() and 0 < len(text) <= 2000 for text in (point.run, point.trial)
        ):
            yield f"{where} does not say where it comes from"
        if {arm: set(values) for arm, values in point.values.items()} != {
            arm: set(space) for arm, space in searching.items()
        }:
            yield f"{where} does not have the dimensions that its arms search"
        elif not all(
            _usual(value) and searching[arm][key].nearest(value) == value
            for arm, values in point.values.items()
            for key, value in values.items()
        ):
            yield f"{where} is outside the ranges that its arms search"


def _arm_problems(arm: ArmPlan, names: list[str]) -> Iterator[str]:
    if not _matches(_ARM_NAME, arm.name):
        yield "that is not a valid name of an arm"
    if not _WORD.fullmatch(arm.variant):
        yield f"variant is {show(arm.variant)}"
    yield from _outside("trials", arm.trials, 0)
    if arm.borrows is not None and (arm.borrows not in names or arm.borrows == arm.name):
        yield f"it borrows from {show(arm.borrows)}, which is not another arm"
    if arm.borrows is None and arm.trials == 0:
        yield "it has no trials and borrows from no other arm"
    known = tuple(parameter.name for parameter in search_keys(arm.name).values())
    if arm.name in ARMS and arm.own != known:
        yield f"parameter is {show(arm.parameter)}"
    for name in arm.own:
        if name not in arm.space:
            yield f"its parameter {name} has no space"
    for key, space in arm.space.items():
        if not _WORD.fullmatch(key) or not _whole(space):
            yield f"the space of {show(key)} is not a range, a value or a list of choices"
    if not all(_usual(value) for value in arm.fixed.values()):
        yield "a fixed value is not finite"


def _whole(space: Space) -> bool:
    """Whether a space has all that its kind needs, with finite numbers in order."""
    if space.kind == "fixed":
        return _usual(space.value)
    if space.kind == "choices":
        return bool(space.choices) and all(map(_usual, space.choices or ()))
    if not _usual(space.low) or not _usual(space.high):
        return False
    low, high = float(space.low or 0), float(space.high or 0)
    return low <= high and (low > 0 or not space.log)


def _usual(value: int | float | None) -> bool:
    return value is not None and -1e300 <= value <= 1e300  # false for NaN, too


def _outside(name: str, value: int, least: int, most: int = LARGEST_INTEGER) -> Iterator[str]:
    if not least <= value <= most:
        yield f"{name} is {show(value)}, but must be between {least} and {most}"


def _matches(adapter: TypeAdapter[str], text: str) -> bool:
    try:
        adapter.validate_python(text)
    except ValidationError:
        return False
    return True
