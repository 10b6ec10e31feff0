"""`search.match: seconds`: how much longer a step of each arm takes than one of the control.

Steps are measured on this machine, in turns with the control's, on random images. The costs are
part of the plan, so a resumed campaign has the same number of trials.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcsearch.arms import CONTROL
from pcsearch.recipe.schema import Recipe
from pcsearch.search.observer import Observer
from pcsearch.search.plan import ArmPlan, Plan, StudyPlan, matched_trials
from pcsearch.search.trial import TrialSpec
from pcsearch.search.trial_config import search_config

if TYPE_CHECKING:
    from pcsearch.training.config import TrainConfig

_SECONDS = 2.0
"""Seconds of steps for each arm and the control together, about."""


def with_costs(plan: Plan, recipe: Recipe, known: Plan | None, observer: Observer) -> Plan:
    """The plan with the measured cost of every arm, and as many trials as that allows.

    Args:
        plan: A plan with `match: seconds`.
        recipe: Its recipe.
        known: The plan of a resumed campaign, whose costs are kept.
        observer: Is told what was measured.
    """
    before = {
        (study.id, arm.name): arm.cost
        for study in (known.studies if known is not None else ())
        for arm in study.arms
    }
    studies = []
    for study in plan.studies:
        costs = {arm.name: before.get((study.id, arm.name)) for arm in study.arms}
        if None in costs.values():
            measured = _measured(plan, study, recipe)
            costs = {name: measured[name] if cost is None else cost for name, cost in costs.items()}
            told = ", ".join(f"{name} {cost:.2f}" for name, cost in costs.items())
            observer.noted(f"{study.id}: time of a step, in steps of the control: {told}")
        arms = tuple(_with_cost(plan, recipe, arm, costs[arm.name] or 1.0) for arm in study.arms)
        studies.append(study.model_copy(update={"arms": arms}))
    return plan.model_copy(update={"studies": tuple(studies)})


def _with_cost(plan: Plan, recipe: Recipe, arm: ArmPlan, cost: float) -> ArmPlan:
    relative = cost * plan.epochs(arm, "search") / plan.max_epochs
    trials = matched_trials(recipe.search.trials, plan.match, relative) if arm.trials else 0
    return arm.model_copy(update={"cost": cost, "trials": trials})


def _measured(plan: Plan, study: StudyPlan, recipe: Recipe) -> dict[str, float]:
    """Median seconds of a step of each arm ÷ those of the control's."""
    from pcsearch.execution.preflight.speed import seconds_of_steps

    control = _settings(plan, study, study.arm(CONTROL), recipe)
    costs = {CONTROL: 1.0}
    for arm in study.arms:
        if arm.name != CONTROL:
            both = (_settings(plan, study, arm, recipe), control)
            ours, theirs = seconds_of_steps(recipe, study, both, _SECONDS)
            costs[arm.name] = round(ours / theirs, 2)
    return costs


def _settings(plan: Plan, study: StudyPlan, arm: ArmPlan, recipe: Recipe) -> TrainConfig:
    """A trial of the arm with the largest values of its own, and the control's of all others."""
    from pcsearch.execution.trial_run import train_config

    own = {key: arm.space[key].highest for key in arm.own}
    shared = {key: space.lowest for key, space in arm.space.items() if key not in arm.own}
    spec = TrialSpec(
        trial=f"{study.id}/{arm.name}/cost",
        study=study.id,
        arm=arm.name,
        phase="search",
        index=0,
        epochs=plan.epochs(arm, "search"),
        variant=arm.variant,
        config=search_config(plan, study, arm, 0, shared | own),
    )
    return train_config(recipe, study.backbone, spec, study.bfloat16)
