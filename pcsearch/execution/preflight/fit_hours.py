"""`tune --hours`: trials, epochs, repeats and seeds that use a given time well on this machine."""

from __future__ import annotations

import bisect
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from pcsearch.data.cache import default_cache_folder
from pcsearch.errors import UserError
from pcsearch.execution.preflight.datasets import open_datasets, prepare_datasets
from pcsearch.execution.preflight.lr_ranges import range_test_images
from pcsearch.execution.preflight.speed import measure_speeds, trials_at_once
from pcsearch.recipe.load import load_recipe
from pcsearch.recipe.schema import Recipe
from pcsearch.reporting.formatting import duration
from pcsearch.search.estimate import campaign_seconds
from pcsearch.search.observer import Observer
from pcsearch.search.plan import ArmPlan, Plan, build_plan, confirm_seeds, matched_trials

_USED = 0.95
"""The part of the time that is planned; budget.hours closes the search if trials take longer."""

_START = 10.0
"""Seconds before a campaign's clock runs: Ray starts, and images are opened again."""

_MORE_SEARCH = 1.3
"""Search trials are asked until the time is up, so more are planned than are expected to fit."""


@dataclass(frozen=True)
class Size:
    """The numbers of a campaign that decide how long it takes.

    Attributes:
        trials: Search trials of each arm.
        epochs: Epochs of a full training.
        repeats: Repeats of each finalist.
        seeds: Confirm seeds.
    """

    trials: int
    epochs: int
    repeats: int
    seeds: int

    def overrides(self, recipe: Recipe) -> list[str]:
        """The recipe's keys that state this size."""
        grace = min(recipe.asha.grace_epochs, max(1, self.epochs // 3))
        keys = [
            f"search.trials={self.trials}",
            f"asha.max_epochs={self.epochs}",
            f"asha.grace_epochs={grace}",
        ]
        keys += [f"finalists.repeats={self.repeats}"] if self.repeats else []
        keys += [f"confirm.seeds={self.seeds}", "confirm.epochs=null"] if self.seeds else []
        return keys


LEAST = Size(trials=4, epochs=3, repeats=2, seeds=3)
"""Below this a verdict would be withheld, or mean little."""

MOST = Size(trials=60, epochs=90, repeats=8, seeds=20)
"""Above this more of the same adds little; the time left is not used."""


def sizes(base: Size) -> Iterator[Size]:
    """Sizes from the least to the most, in small steps, through the recipe's own.

    Seeds and repeats make the interval narrower, so they grow faster than epochs and trials. What
    is 0 in the recipe stays 0: without confirm seeds, the test images stay unopened.
    """
    for step in range(-60, 61):
        factor = 1.08**step
        grown = Size(
            trials=round(base.trials * factor**0.5),
            epochs=round(base.epochs * factor**0.6),
            repeats=round(base.repeats * factor**0.7),
            seeds=round(base.seeds * factor),
        )
        yield Size(
            *(
                max(low, min(value, high)) if stated else 0
                for stated, value, low, high in zip(
                    vars(base).values(),
                    vars(grown).values(),
                    vars(LEAST).values(),
                    vars(MOST).values(),
                    strict=True,
                )
            )
        )


def best_size(base: Size, seconds: float, predicted: Callable[[Size], float]) -> Size:
    """The largest size that is predicted to take at most so many seconds.

    Raises:
        UserError: the least one takes longer.
    """
    every = list(dict.fromkeys(sizes(base)))
    fitting = bisect.bisect_right(every, seconds, key=predicted)
    if not fitting:
        least = every[0]
        needed = duration(predicted(least) / _USED)
        which, seeds = "", ""
        if least.seeds:
            which, seeds = " with a verdict", f", {least.seeds} seeds"
        raise UserError(
            f"--hours {seconds / _USED / 3600:.3g} is too short: the smallest campaign{which} "
            f"({least.trials} trials of {least.epochs} epochs an arm{seeds}) takes about {needed} "
            f"here. Give more hours, a lighter network, or fewer pixels "
            "(image.crop, image.resize)"
        )
    return every[fitting - 1]


def fit_to_hours(recipe: Recipe, hours: float, observer: Observer) -> Recipe:
    """The recipe with the numbers that use `hours` of this machine; a note to `observer` says them.

    Decodes the images, and measures the speed of each network.

    Raises:
        UserError: the time is too short for any verdict.
    """
    began = time.monotonic()
    prepared = prepare_datasets(
        recipe,
        open_datasets(recipe),
        default_cache_folder(),
        observer.preparing,
        needs_test=recipe.confirm.seeds > 0,
    )
    plan = build_plan(recipe, [dataset.facts for dataset in prepared], {})
    speeds = measure_speeds(recipe, plan)
    at_once = trials_at_once(recipe)
    tests = sum(range_test_images(recipe, one) * speeds[one.id].train for one in plan.studies)
    base = Size(
        recipe.search.trials,
        recipe.asha.max_epochs,
        recipe.finalists.repeats if recipe.finalists.configs else 0,
        recipe.confirm.seeds,
    )

    def predicted(size: Size) -> float:
        return tests + campaign_seconds(resized(plan, recipe, size), speeds, at_once)[0]

    size = best_size(base, _USED * hours * 3600, predicted)
    more = replace(size, trials=round(size.trials * _MORE_SEARCH))
    repeats = f"{size.repeats} repeats of each finalist" if size.repeats else "no finalists"
    seeds = (
        f"{size.seeds} confirm seeds."
        if size.seeds
        else "no confirm seeds, as confirm.seeds is 0: the test images stay unopened, and there is "
        "no verdict."
    )
    observer.noted(
        f"For {hours:g} hours: each arm gets {size.trials} search trials of at most {size.epochs} "
        f"epochs ({more.trials} if there is time), {repeats} and {seeds}"
    )
    before = time.monotonic() - began + tests + _START
    left = max(hours - before / 3600, hours / 2)
    return load_recipe(recipe.to_mapping(), [*more.overrides(recipe), f"budget.hours={left:.4g}"])


def _trials(arm: ArmPlan, plan: Plan, size: Size) -> int:
    cost = arm.cost * (arm.epochs or size.epochs) / size.epochs
    return matched_trials(size.trials, plan.match, cost) if arm.trials else 0


def resized(plan: Plan, recipe: Recipe, size: Size) -> Plan:
    """The plan with another size, to predict its time."""
    grace = min(plan.grace_epochs, max(1, size.epochs // 3))
    changes: Mapping[str, object] = {
        "studies": tuple(
            study.model_copy(
                update={
                    "arms": tuple(
                        arm.model_copy(update={"trials": _trials(arm, plan, size)})
                        for arm in study.arms
                    )
                }
            )
            for study in plan.studies
        ),
        "max_epochs": size.epochs,
        "grace_epochs": grace,
        "finalist_repeats": size.repeats if plan.finalist_configs else 0,
        "confirm_seeds": confirm_seeds(plan.seed, size.seeds),
        "confirm_epochs": size.epochs,
        "full_trainings": min(plan.full_trainings, size.trials),
    }
    return plan.model_copy(update=changes)
