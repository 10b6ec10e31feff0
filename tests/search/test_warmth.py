from __future__ import annotations

from pcsearch.search.campaign import KEPT_SECONDS, Warmth


def test_workers_that_are_free_are_given_trials_in_turn() -> None:
    warmth = Warmth()
    warmth.trained("a", "birds")
    warmth.trained("b", "cars")
    warmth.trained("b", "birds")
    assert warmth.next() == frozenset()  # nobody is free
    warmth.freed("b")
    warmth.freed("a")
    assert warmth.next() == {"cars", "birds"}
    assert warmth.next() == {"cars", "birds"}  # asking alone takes nothing
    warmth.taken()
    assert warmth.next() == {"birds"}
    warmth.taken()
    warmth.taken()
    assert warmth.next() == frozenset()


def test_workers_that_were_given_back_are_forgotten() -> None:
    now = [0.0]
    warmth = Warmth(clock=lambda: now[0])
    warmth.trained("a", "birds")
    warmth.trained("b", "cars")
    warmth.freed("a")
    now[0] = KEPT_SECONDS
    warmth.freed("b")
    assert warmth.next() == {"birds"}
    now[0] = KEPT_SECONDS + 0.1
    assert warmth.next() == {"cars"}


def test_a_node_that_trained_nothing_has_nothing() -> None:
    warmth = Warmth()
    warmth.freed("new")
    assert warmth.next() == frozenset()
