from __future__ import annotations

from pcsearch.execution.worker_health import NODE_PATIENCE_SECONDS, NodeTrouble


def test_before_anything_is_trained_it_is_told_at_once() -> None:
    assert NodeTrouble().stays("a")


def test_what_passes_is_waited_for_and_what_stays_is_not() -> None:
    now = [0.0]
    trouble = NodeTrouble(clock=lambda: now[0])
    trouble.trained("good")
    for now[0] in (0.0, 30.0, NODE_PATIENCE_SECONDS):
        assert not trouble.stays("late")
    trouble.trained("late")
    for now[0] in (100.0, 130.0, 160.0):
        assert not trouble.stays("late")
        assert not trouble.stays("other")
    now[0] = 161.0
    assert trouble.stays("late")


def test_two_passing_troubles_are_not_one_that_stays() -> None:
    now = [0.0]
    trouble = NodeTrouble(clock=lambda: now[0])
    trouble.trained("good")
    assert not trouble.stays("late")
    now[0] = 10 * NODE_PATIENCE_SECONDS  # it had nothing to do meanwhile
    assert not trouble.stays("late")
