"""`train.amp: auto`: whether bfloat16 makes a network's steps faster on this machine's CPU.

The choice is part of the plan, so a resumed campaign trains in the same numbers.
"""

from __future__ import annotations

from pcsearch.execution.preflight.speed import plain_settings, seconds_of_steps
from pcsearch.recipe.schema import Recipe
from pcsearch.search.observer import Observer
from pcsearch.search.plan import Plan, StudyPlan

_SECONDS = 3.0
"""Seconds of steps for each network, in both precisions together, about."""

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
    both = tuple(plain_settings(recipe, study, chosen) for chosen in (False, True))
    single, half = seconds_of_steps(recipe, study, both, _SECONDS)
    ratio = single / half
    worth = ratio >= _WORTH
    observer.noted(
        f"{study.id}: trains in {'bfloat16' if worth else 'float32'}; a step in bfloat16 takes "
        f"{1 / ratio:.0%} of one in float32 here (train.amp: auto)".replace("%", " %")
    )
    return worth
