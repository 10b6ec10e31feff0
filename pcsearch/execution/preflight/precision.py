"""`train.amp: auto`: whether bfloat16 makes a network's steps faster on this machine's CPU.

The choice is part of the plan, so a resumed campaign trains in the same numbers.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pcsearch.execution.preflight.speed import steps_of
from pcsearch.recipe.schema import Recipe
from pcsearch.search.observer import Observer
from pcsearch.search.plan import Plan, StudyPlan

if TYPE_CHECKING:
    import torch

_SECONDS = 3.0
"""Seconds of steps for each network, in both precisions together, about."""

_FEWEST = 3
"""Steps in each precision."""

_WORTH = 1.1
"""bfloat16 is taken if a step is this many times as fast: rounding has to buy something."""


def with_precision(
    plan: Plan, recipe: Recipe, known: Plan | None, observer: Observer, *, here: bool
) -> Plan:
    """The plan with a choice for every study whose `train.amp` is auto; those of `known` are kept.

    Float32 is chosen if trials run elsewhere or get a GPU, if the CPU has no instructions for
    bfloat16, or with `freeze: body`.

    Args:
        plan: A plan without choices.
        recipe: Its recipe.
        known: The plan of a resumed campaign.
        observer: Is told what was chosen.
        here: Whether trials run on this machine.
    """
    chosen = {study.id: study.bfloat16 for study in known.studies} if known is not None else {}
    studies = []
    for study in plan.studies:
        if recipe.train_for(study.backbone)["amp"] != "auto":
            studies.append(study)
            continue
        choice = chosen.get(study.id)
        if choice is None:
            # without a body to train, a step is too short for bfloat16 to matter
            choice = (
                here
                and not recipe.freezes_body(study.backbone)
                and _on_cpu(recipe)
                and _is_worth_it(recipe, study, observer)
            )
        studies.append(study.model_copy(update={"bfloat16": choice}))
    return plan.model_copy(update={"studies": tuple(studies)})


def _on_cpu(recipe: Recipe) -> bool:
    """Whether trials train on a CPU that has instructions for bfloat16."""
    import torch

    if recipe.resources.gpus_per_trial != 0 and torch.cuda.is_available():
        return False
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16") or found.get("bf16"))


def _is_worth_it(recipe: Recipe, study: StudyPlan, observer: Observer) -> bool:
    """Whether steps in bfloat16 are faster here, measured in turns."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, int(recipe.resources.cpus_per_trial)))
    try:
        ratio = _speed_up(recipe, study, torch.device("cpu"))
    finally:
        torch.set_num_threads(threads)
    worth = ratio >= _WORTH
    observer.noted(
        f"{study.id}: trains in {'bfloat16' if worth else 'float32'}; a step in bfloat16 takes "
        f"{1 / ratio:.0%} of one in float32 here (train.amp: auto)".replace("%", " %")
    )
    return worth


def _speed_up(recipe: Recipe, study: StudyPlan, device: torch.device) -> float:
    """A step's seconds in float32 ÷ those in bfloat16, medians."""
    steps = [steps_of(recipe, study, device, bfloat16=chosen) for chosen in (False, True)]
    times: list[list[float]] = [[], []]
    while len(times[1]) < _FEWEST or sum(map(sum, times)) < _SECONDS:
        for step, taken in zip(steps, times, strict=True):
            began = time.perf_counter()
            next(step)
            taken.append(time.perf_counter() - began)
    single, half = (sorted(taken)[len(taken) // 2] for taken in times)
    return single / half
