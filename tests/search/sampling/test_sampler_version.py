"""The sampler's library is recorded, and a resumed campaign reports another one."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import pytest

from pcsearch.execution.resume import _other_sampler
from pcsearch.recipe.load import load_recipe
from pcsearch.search.journal.events import check_event
from pcsearch.search.journal.plan_check import read_plan
from pcsearch.search.plan import DatasetFacts, ImageCounts, build_plan
from tests.search.driving import make_plan, run

FACTS = DatasetFacts("digits", 10, ImageCounts(fit=80, val=20, train=100, test=30), "0123456789")


def test_a_plan_names_the_library_that_proposes_its_trials() -> None:
    recipe = load_recipe("quickstart", ["datasets=[digits]"])
    assert build_plan(recipe, [FACTS]).sampler_version == f"optuna {version('optuna')}"
    points = ["search.sampler=grid", "search.grid={lr: [0.1], lambda_over_n: [0.1]}"]
    grid = load_recipe("quickstart", ["datasets=[digits]", "search.lr=null", *points])
    assert build_plan(grid, [FACTS]).sampler_version is None


def test_a_journal_from_before_it_was_recorded_is_read() -> None:
    raw = make_plan().model_dump(mode="json")
    del raw["sampler_version"]
    assert read_plan(raw).sampler_version is None


@pytest.mark.parametrize("value", ["optuna\x1b[2J", "", "o" * 101, 5])
def test_a_version_that_is_no_version_is_refused(value: Any) -> None:
    raw = make_plan().model_dump(mode="json") | {"sampler_version": value}
    with pytest.raises(ValueError, match="the plan's sampler_version is"):
        read_plan(raw)
    event = {"event": "resumed", "t": 1.0, "attempt": 1, "host": "h", "pid": 1, "version": "1"}
    assert check_event(event) == event
    assert check_event({**event, "sampler_version": "optuna 5.0.0"})
    with pytest.raises(ValueError, match="its sampler_version is"):
        check_event({**event, "sampler_version": value})


def test_another_library_is_told_of_while_the_search_goes_on() -> None:
    campaign = run(make_plan(), most_epochs=5)
    (line,) = _other_sampler(campaign.state, "optuna 5.0.0", "optuna 5.1.0")
    assert line == (
        "The campaign began with optuna 5.0.0, but optuna 5.1.0 proposes its further search "
        "trials: they may differ from those of an uninterrupted run"
    )
    assert not [*_other_sampler(campaign.state, "optuna 5.0.0", "optuna 5.0.0")]
    assert not [*_other_sampler(campaign.state, None, "optuna 5.0.0")], "nothing is known of then"


def test_another_library_does_not_matter_after_the_search() -> None:
    assert not [*_other_sampler(run(make_plan()).state, "optuna 5.0.0", "optuna 5.1.0")]
