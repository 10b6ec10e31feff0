"""The configuration of each trial: sampled values, completed, and the seeds of each phase."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pcsearch.recipe.search_space import Space
from pcsearch.search.plan import ArmPlan, Plan, StudyPlan, derive_seed
from pcsearch.search.trial import Config


def search_config(
    plan: Plan, study: StudyPlan, arm: ArmPlan, index: int, sampled: Mapping[str, Any]
) -> Config:
    """A search trial's configuration; trial `index` has the same training seed in every arm."""
    return {
        **regulariser_weight(arm, sampled, study.num_classes),
        **arm.fixed,
        **{key: value for key, value in sampled.items() if key != arm.parameter},
        "seed": derive_seed(plan.seed, "search", index),
        "split": 0,
    }


def regulariser_weight(arm: ArmPlan, sampled: Mapping[str, Any], num_classes: int) -> Config:
    """λ and λ/N; for the label smoothing arm, also the smoothing."""
    if arm.parameter is None:
        return {"lambda": 0.0, "lambda_over_n": 0.0}
    value = float(sampled[arm.parameter])
    if arm.parameter == "label_smoothing":
        return {"lambda": 0.0, "lambda_over_n": 0.0, "label_smoothing": value}
    if arm.parameter == "lambda":
        return {"lambda": value, "lambda_over_n": value / num_classes}
    return {"lambda": value * num_classes, "lambda_over_n": value}


def adopted(config: Config, arm: ArmPlan, own: Config | None, num_classes: int) -> Config:
    """Another arm's shared hyperparameters, with this arm's own parameter.

    Args:
        config: The other arm's configuration.
        arm: The arm that adopts it.
        own: The configuration that supplies the arm's own parameter; None takes the middle of
            its range.
        num_classes: Classes of the dataset.
    """
    shared = without_regulariser(config)
    if arm.parameter is None:
        return shared
    value = middle(arm.space[arm.parameter]) if own is None else float(own[arm.parameter])
    return {**shared, **regulariser_weight(arm, {arm.parameter: value}, num_classes)}


def middle(space: Space) -> float:
    """The value in the middle of a space, on its own scale."""
    if space.kind == "choices":
        choices = sorted(float(choice) for choice in space.choices or ())
        return choices[len(choices) // 2]
    if space.kind == "fixed":
        return float(space.value or 0.0)
    low, high = float(space.low or 0.0), float(space.high or 0.0)
    return math.sqrt(low * high) if space.log else (low + high) / 2


def finalist_config(plan: Plan, config: Config, repeat: int) -> Config:
    """The same hyperparameters on split number `repeat`, with a seed that all arms share."""
    return {**config, "seed": derive_seed(plan.seed, "finalists", repeat), "split": repeat}


def confirm_config(plan: Plan, config: Config, index: int) -> Config:
    """The same hyperparameters on all training images, with confirm seed number `index`."""
    return {**config, "seed": plan.confirm_seeds[index], "split": None}


def without_regulariser(config: Config) -> Config:
    """The configuration of `search.control: single`: another arm's, with λ = 0."""
    kept = {key: value for key, value in config.items() if key != "label_smoothing"}
    return {**kept, "lambda": 0.0, "lambda_over_n": 0.0}
