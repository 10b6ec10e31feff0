"""`tune --hours`: the largest size of a recipe that fits the time."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsearch.errors import UserError
from pcsearch.execution.launch import run_recipes
from pcsearch.execution.preflight.fit_hours import (
    LEAST,
    MOST,
    Size,
    best_size,
    fit_to_hours,
    resized,
    sizes,
)
from pcsearch.recipe import load_recipe
from pcsearch.search.estimate import estimate
from pcsearch.search.observer import Silent
from pcsearch.search.plan import DatasetFacts, ImageCounts, build_plan

RECIPE = load_recipe("quickstart", ["datasets=[digits]"])
FACTS = DatasetFacts("digits", 10, ImageCounts(fit=80, val=20, train=100, test=30), "0" * 16)
PLAN = build_plan(RECIPE, [FACTS], {})
BASE = Size(trials=10, epochs=9, repeats=3, seeds=5)


def epochs(size: Size) -> float:
    return estimate(resized(PLAN, RECIPE, size)).at_most.epochs


def test_sizes_grow_from_the_least_through_the_base_to_the_most() -> None:
    every = list(sizes(BASE))
    assert BASE in every
    assert every[0] == LEAST
    assert every[-1] == MOST
    for one, other in pairwise(every):
        assert all(a <= b for a, b in zip(vars(one).values(), vars(other).values(), strict=True))


@given(st.floats(100, 1e6))
@settings(max_examples=20, deadline=None)
def test_the_largest_that_fits_is_taken(seconds: float) -> None:
    size = best_size(BASE, seconds, epochs)
    assert epochs(size) <= seconds
    larger = [other for other in sizes(BASE) if epochs(other) > epochs(size)]
    assert all(epochs(other) > seconds for other in larger)


def test_a_time_too_short_says_how_much_is_needed() -> None:
    """Two arms: 4 trials, 8 finalists and 3 seeds each, of 3 epochs: 90 for 95 % of the time."""
    with pytest.raises(
        UserError, match=r"--hours 0\.00292 is too short: .* takes about 1 min 35 s"
    ):
        best_size(BASE, 10.0, epochs)


def test_a_resized_plan_by_hand() -> None:
    """Two arms. Search 8 epochs a trial; both retrain 2 configurations of each arm; confirm."""
    size = Size(trials=5, epochs=8, repeats=2, seeds=4)
    assert epochs(size) == 2 * 5 * 8 + 2 * 4 * 2 * 8 + 2 * 4 * 8
    assert estimate(resized(PLAN, RECIPE, size)).trials == 10 + 16 + 8


def test_the_recipe_that_comes_out_is_valid_and_has_the_time_as_its_budget() -> None:
    lines: list[str] = []
    watch = Silent()
    watch.noted = lines.append  # type: ignore[method-assign]
    fitted = fit_to_hours(RECIPE, 0.02, watch)
    assert 0.01 <= (fitted.budget.hours or 0) <= 0.02
    assert fitted.search.trials >= LEAST.trials
    assert fitted.confirm.epochs is None
    assert fitted.confirm_epochs == fitted.asha.max_epochs
    assert lines[-1].startswith("For 0.02 hours: ")


def test_what_the_recipe_leaves_out_stays_left_out() -> None:
    """Without seeds and finalists: two arms of 4 trials of 3 epochs are the least."""
    base = Size(trials=10, epochs=9, repeats=0, seeds=0)
    assert {(size.repeats, size.seeds) for size in sizes(base)} == {(0, 0)}
    assert next(sizes(base)) == Size(LEAST.trials, LEAST.epochs, 0, 0)
    with pytest.raises(
        UserError, match=r"campaign \(4 trials of 3 epochs an arm\) takes about 25 s"
    ):
        best_size(base, 10.0, epochs)
    lines: list[str] = []
    watch = Silent()
    watch.noted = lines.append  # type: ignore[method-assign]
    stated = ["datasets=[digits]", "confirm.seeds=0", "finalists.configs=0", "finalists.repeats=0"]
    fitted = fit_to_hours(load_recipe("quickstart", stated), 0.02, watch)
    assert (fitted.confirm.seeds, fitted.finalists.repeats) == (0, 0)
    assert "no finalists and no confirm seeds, as confirm.seeds is 0: the test images" in lines[-1]


@pytest.mark.parametrize(
    ("recipes", "hours", "address", "message"),
    [
        ([RECIPE], 0.0, None, "--hours is 0, but must be greater than 0"),
        ([RECIPE], float("nan"), None, "--hours is nan"),
        ([RECIPE], 1.0, "127.0.0.1:1", "--address trains elsewhere"),
        ([RECIPE, RECIPE], 1.0, None, "takes one recipe, but there are 2"),
    ],
)
def test_hours_that_mean_nothing(
    recipes: list[object], hours: float, address: str | None, message: str
) -> None:
    running = run_recipes(
        recipes,  # type: ignore[arg-type]
        runs="nowhere",
        name=None,
        address=address,
        observer=Silent(),
        hours=hours,
    )
    with pytest.raises(UserError, match=message):
        next(running)
