"""What a check between the keys of a recipe finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pcsearch.recipe.problems import KeyPath
from pcsearch.recipe.schema import Recipe


@dataclass(frozen=True)
class Finding:
    """A mistake at `path`; it says nothing when one of `needs` was itself mistaken."""

    path: KeyPath
    message: str
    needs: tuple[KeyPath, ...] = ()


Check = Callable[[Recipe], Iterator[Finding]]
