"""The `search` section: arms, dimensions, sampler."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from pcsearch.recipe.arms import ARMS, Arm
from pcsearch.recipe.fields import (
    Names,
    OrEmpty,
    Section,
    Seed,
    SparseSection,
    Trials,
    searched,
    searched_or_null,
)
from pcsearch.recipe.show import show
from pcsearch.recipe.space import DIMENSIONS, SHARED, Number, Space, parse_choices

DEFAULT_LR = Space.between(0.001, 0.1, log=True)
LONGEST_RUN = 1000
"""Characters of the name, folder or address of an earlier run."""


def _validation_only(value: object) -> object:
    if value == "test":
        raise ValueError(
            'is "test", but must be "validation": the test images are measured once, after λ is '
            "chosen, or their accuracy would be flattered by the choice"
        )
    return value


def _runs(value: object) -> object:
    """Names, folders or addresses of runs; whether they are there is asked before a start."""
    runs = [value] if isinstance(value, str) else value
    if isinstance(runs, list | tuple):
        for run in runs:
            if isinstance(run, str) and (not run.isprintable() or len(run) > LONGEST_RUN):
                raise ValueError(f"holds {show(run)}, which names no run")
    return value


def _grid(value: object) -> object:
    """Values of each key, checked as that key's; unknown keys are left to the cross-checks."""
    if value is None:
        return None
    if not isinstance(value, dict) or not value:
        raise ValueError(f"is {show(value)}, but must be a mapping from keys to lists of values")
    for key, values in value.items():
        if key not in DIMENSIONS and not isinstance(values, list | tuple):
            raise ValueError(f"is {show(value)}, but must be a mapping from keys to lists")
    try:
        return {
            key: parse_choices(values, DIMENSIONS[key]) if key in DIMENSIONS else ()
            for key, values in value.items()
        }
    except ValueError as error:
        raise ValueError(f"holds a list that {error}") from None


class SpaceValues(Section):
    """The search dimensions. A shared one that is null is not searched: `train` says its value."""

    lr: Annotated[Space | None, searched_or_null("lr")] = DEFAULT_LR
    weight_decay: Annotated[Space | None, searched_or_null("weight_decay")] = None
    batch_size: Annotated[Space | None, searched_or_null("batch_size")] = None
    head_lr_multiplier: Annotated[Space | None, searched_or_null("head_lr_multiplier")] = None
    head_only_epochs: Annotated[Space | None, searched_or_null("head_only_epochs")] = None
    lambda_over_n: Annotated[Space, searched("lambda_over_n")] = Space.between(0.05, 0.15)
    label_smoothing: Annotated[Space, searched("label_smoothing")] = Space.between(0.02, 0.3)
    entropic_lambda: Annotated[Space, searched("entropic_lambda")] = Space.between(
        0.05, 2.0, log=True
    )
    jeffreys_lambda: Annotated[Space, searched("jeffreys_lambda")] = Space.between(
        1e-4, 1e-1, log=True
    )


class SpaceExceptions(SpaceValues, SparseSection):
    """Dimensions of one backbone that differ from the others'."""


class SearchSection(SpaceValues):
    """What is searched, how, and how much of it; `trials` counts per arm."""

    trials: Trials = 20
    arms: Names = ("pc",)
    control: Literal["matched", "single", "none"] = "matched"
    sampler: Literal["tpe", "gp", "random", "grid", "qmc"] = "tpe"
    grid: Annotated[dict[str, tuple[Number, ...]] | None, BeforeValidator(_grid)] = None
    startup_trials: Trials | None = None
    seed: Seed = 0
    widen: Literal["auto", "never"] = "auto"
    prior: Annotated[Names, BeforeValidator(_runs)] = ()
    evaluate_on: Annotated[Literal["validation"], BeforeValidator(_validation_only)] = "validation"
    per_backbone: Annotated[dict[str, SpaceExceptions], OrEmpty] = Field(default_factory=dict)

    def space_for(self, backbone: str, arm: str | Arm) -> dict[str, Space]:
        """The dimensions of an arm: the shared ones in their order, then its own.

        The arm's own dimension goes by the name of its parameter (`lambda_over_n`, `lambda`,
        `label_smoothing`). Keys of a grid become choices.
        """
        arm = ARMS[arm] if isinstance(arm, str) else arm
        names: dict[str, str] = {name: name for name in SHARED}
        if arm.parameter and arm.search_key:
            names[arm.search_key] = arm.parameter
        spaces = ((name, self._space(backbone, key)) for key, name in names.items())
        return {name: space for name, space in spaces if space is not None}

    def _space(self, backbone: str, key: str) -> Space | None:
        if self.grid and key in self.grid:
            return Space.of(self.grid[key])
        exceptions: dict[str, Any] = {}
        if backbone in self.per_backbone:
            exceptions = self.per_backbone[backbone].given()
        space: Space | None = exceptions.get(key, getattr(self, key))
        return space
