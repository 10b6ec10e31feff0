"""The configuration of each trial: sampled values, completed, and the seeds of each phase."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pcsearch.recipe.search_space import SHARED, Space
from pcsearch.search.plan import ArmPlan, Plan, StudyPlan, derive_seed
from pcsearch.search.trial import Config


def search_config(
    plan: Plan, study: StudyPlan, arm: ArmPlan, index: int, sampled: Mapping[str, Any]
) -> Config:
    """A search trial's configuration; trial `index` has the same training seed in every arm."""
    return {
        **regulariser_weight(arm, sampled, study.num_classes),
        **arm.fixed,
        **{key: value for key, value in sampled.items() if key not in arm.own},
        "seed": derive_seed(plan.seed, "search", index),
        "split": 0,
    }


def regulariser_weight(arm: ArmPlan, sampled: Mapping[str, Any], num_classes: int) -> Config:
    """λ and λ/N, and the arm's other parameters."""
    config: Config = {"lambda": 0.0, "lambda_over_n": 0.0}
    for name in arm.own:
        value = float(sampled[name])
        if name == "lambda":
            config |= {"lambda": value, "lambda_over_n": value / num_classes}
        elif name == "lambda_over_n":
            config |= {"lambda": value * num_classes, "lambda_over_n": value}
        else:
            config[name] = value
    return config


def adopted(config: Config, arm: ArmPlan, own: Config | None, num_classes: int) -> Config:
    """Another arm's shared hyperparameters, with this arm's own parameters.

    Args:
        config: The other arm's configuration.
        arm: The arm that adopts it.
        own: The configuration that supplies the arm's own parameters; None takes the middles of
            their ranges.
        num_classes: Classes of the dataset.
    """
    shared = without_regulariser(config)
    values = {name: middle(arm.space[name]) if own is None else own[name] for name in arm.own}
    return {**shared, **regulariser_weight(arm, values, num_classes)}


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
    shared = (*SHARED, "lambda", "lambda_over_n", "seed", "split")
    kept = {key: value for key, value in config.items() if key in shared}
    return {**kept, "lambda": 0.0, "lambda_over_n": 0.0}
