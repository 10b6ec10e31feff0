from __future__ import annotations

import pytest

from pcsearch.cli.views.progress import DoneOfAll, fraction_done, snapshot
from tests.cli.campaigns import arm, drive, plan, silent

ONE = ("digits/compact_cnn",)


def test_counts_at_the_start() -> None:
    state = drive(plan(studies=ONE), listener=silent, max_concurrent=2, until=1).state
    now = snapshot(state, 1.0, 2)
    control = now.studies[0].arms[0]
    # Two of six search trials run, one an arm, with 1 of 9 epochs.
    assert control.counts["search"].text == "0/6"
    assert control.counts["search"].done == pytest.approx(1 / 9)
    assert control.counts["finalists"] == DoneOfAll(0, 8, 0), "two of each arm, twice, at most"
    assert control.counts["confirm"] == DoneOfAll(0, 3, 0)
    assert control.best is None
    assert (now.epochs, now.ended, now.planned, now.studies[0].running) == (2, 0, 34, 2)
    assert fraction_done(now.counts) == pytest.approx(2 / 9 / 34)
    assert [(r.epoch, r.epochs) for r in now.running] == [(1, 9), (1, 9)]
    assert now.running[0].label == "digits/compact_cnn control search 0"
    assert now.running[0].curve == (now.running[0].value,)


def test_end_of_a_campaign() -> None:
    state = drive(plan(studies=ONE), listener=silent).state
    now = snapshot(state, 60.0, 3)
    assert now.studies[0].settled
    assert now.ended == now.planned == len(state.trials)
    assert now.remaining_seconds == 0
    assert fraction_done(now.counts) == 1
    for progress in now.studies[0].arms:
        choice = state.arms["digits/compact_cnn", progress.name].choice
        assert choice is not None
        assert progress.best is not None
        assert progress.best.chosen
        assert progress.best.value == choice.score
        source = state.trials[choice.source]
        assert progress.best.curve == tuple(epoch.value for epoch in source.epochs)


def test_failed_trials_and_arms_that_are_given_up() -> None:
    one = plan(studies=ONE)
    state = drive(one, listener=silent, fails=lambda spec: spec.arm == "pc").state
    now = snapshot(state, 60.0, 3)
    control, pc = now.studies[0].arms
    assert pc.given_up is not None
    assert pc.settled
    assert pc.fraction == 1
    assert pc.counts["search"] == DoneOfAll(6, 6, 6)
    assert pc.counts["confirm"].planned == 0
    # it has tried the control's best configuration, too
    assert pc.counts["finalists"] == DoneOfAll(2, 2, 2)
    assert now.failed == 6 + 2
    assert now.last_failure == (
        "digits/compact_cnn pc finalists 1: loss became nan at epoch 1, step 3: lower search.lr"
    )
    assert control.settled


def test_control_that_borrows_has_no_search_of_its_own() -> None:
    one = plan(studies=ONE, arms=(arm("control", borrows="pc"), arm("pc")))
    now = snapshot(drive(one, listener=silent).state, 60.0, 3)
    control = now.studies[0].arms[0]
    assert control.counts["search"].text == control.counts["finalists"].text == "–"
    assert control.counts["confirm"].text == "3/3"
    assert control.best is not None
    assert (control.best.value, control.best.curve) == (None, ())


def test_budget_that_closes_the_search_shrinks_what_is_planned() -> None:
    one = plan(studies=ONE, budget_seconds=130)
    state = drive(one, listener=silent, max_concurrent=1).state
    assert state.search_closed
    now = snapshot(state, state.seconds, 1)
    assert now.planned == now.ended == len(state.trials)
    assert fraction_done(now.counts) == 1
