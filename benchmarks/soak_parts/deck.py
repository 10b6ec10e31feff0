"""Chance without luck: every card comes once before any comes again."""

from __future__ import annotations

from collections.abc import Container, Sequence
from random import Random
from typing import Generic, TypeVar

T = TypeVar("T")


class Deck(Generic[T]):
    """Cards in a random order, shuffled anew whenever none of those left may be drawn.

    Args:
        cards: All of them, but the last.
        random: Chance.
        last: Those that come after all others, in this order.
    """

    def __init__(self, cards: Sequence[T], random: Random, last: Sequence[T] = ()) -> None:
        self._cards = list(cards)
        self._last = list(last)
        self._random = random
        self._left: list[T] = []

    def draw(self, allowed: Container[T]) -> T | None:
        """The next card that is allowed; None where no card is."""
        for _ in range(2):
            for card in self._left:
                if card in allowed:
                    self._left.remove(card)
                    return card
            self._left += self._random.sample(self._cards, len(self._cards)) + self._last
        return None

    def put_back(self, card: T) -> None:
        """A card that could not be played comes next."""
        self._left.insert(0, card)
