"""A budget in money: when a search trial is asked, waits for its node to be paid for, or is not."""

from __future__ import annotations

import pytest

from pcsearch.search.budget import IDLE_SECONDS
from pcsearch.search.campaign import Campaign
from pcsearch.search.journal.journal_file import MemoryJournal
from tests.search.driving import Clock, make_plan

PER_HOUR = 3600.0
"""A price at which a node costs 1 a second."""


def campaign(budget: float, max_concurrent: int = 12) -> Campaign:
    plan = make_plan(budget_cost=budget, price_per_node_hour=PER_HOUR)
    return Campaign(plan, MemoryJournal(), Clock(), max_concurrent=max_concurrent)


def ask(one: Campaign) -> list[str]:
    """All the trials that are asked now."""
    specs = []
    while (spec := one.next_trial()) is not None:
        specs.append(spec.trial)
    return specs


def train(one: Campaign, trial: str, seconds: float = 10.0) -> None:
    one.report(trial, one.state.trials[trial].last_epoch + 1, 50.0, seconds, {})


def test_no_node_is_asked_for_before_anything_is_measured() -> None:
    one = campaign(1e6)
    first = ask(one)
    assert len(first) == 2  # each arm's first
    one.machines(1, 4)
    assert len(ask(one)) == 2  # they have a place on the node that is there
    train(one, first[0])
    assert len(ask(one)) == 12 - 4


def test_a_node_that_is_not_paid_for_waits_and_a_place_that_is_not_ends_the_search() -> None:
    """A full trial takes 99 seconds, with the slack; what follows the search, 1.25 times as long.

    With n nodes: n * 99 until all that run are trained, and less than n * 123.75 after that.
    """
    one = campaign(5.5 * 99 + 5.5 * 124)
    one.machines(1, 2)
    first = ask(one)
    train(one, first[0])
    assert len(ask(one)) == 2 * 5 - 2  # of six nodes
    assert one.state.search_closed is None
    one.machines(5, 10)
    clock = one._clock
    assert isinstance(clock, Clock)
    clock.now = 30.0
    one.fail(first[1], "loss became nan")
    assert ask(one) == []
    assert one.state.search_closed is not None
    assert "cost budget" in one.state.search_closed


def test_nodes_stay_no_longer_than_they_are_idle() -> None:
    """Where trials are long, not every node has to be paid for until the last is confirmed."""
    seconds = 1000.0
    full = 1.1 * 9 * seconds
    later = 1.25 * full
    one = campaign(6 * (full + IDLE_SECONDS) + 3 * later + 1)
    one.machines(6, 12)
    first = ask(one)
    train(one, first[0], seconds)
    one.fail(first[-1], "loss became nan")
    assert len(ask(one)) == 1
    too_little = campaign(6 * (full + IDLE_SECONDS) + 3 * later - 1)
    too_little.machines(6, 12)
    first = ask(too_little)
    train(too_little, first[0], seconds)
    too_little.fail(first[-1], "loss became nan")
    assert ask(too_little) == []


@pytest.mark.parametrize("nodes", [0, 3])
def test_where_nothing_runs_nothing_is_waited_for(nodes: int) -> None:
    one = campaign(1.0)
    one.machines(nodes, 4 * nodes)
    first = ask(one)
    for trial in first:
        while one.state.trials[trial].state == "RUNNING":
            train(one, trial)
    assert one.state.search_closed is None
    assert "confirm" in ask(one)[0]
