"""Problems of a recipe: collected, one line each, raised as a single error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pcsearch.errors import UserError, did_you_mean
from pcsearch.printable import printable

LONGEST_SHOWN = 60


def show(value: object) -> str:
    """`true`, `null`, `"text"`, `[1, 2]`, `{low: 0.1}`: at most `LONGEST_SHOWN` characters."""
    text = _text(value, depth=0)
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"


def _text(value: object, depth: int) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if abs(value) < 10**LONGEST_SHOWN else "a huge number"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else str(value)
    if isinstance(value, str):
        return f'"{printable(value[:LONGEST_SHOWN])}"'
    if depth > 2:
        return "..."
    if isinstance(value, Mapping):
        items = list(value.items())[:LONGEST_SHOWN]
        inner = (
            f"{printable(str(key)[:LONGEST_SHOWN])}: {_text(v, depth + 1)}" for key, v in items
        )
        return "{" + ", ".join(inner) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_text(item, depth + 1) for item in value[:LONGEST_SHOWN]) + "]"
    return printable(str(value)[:LONGEST_SHOWN])


MOST_PROBLEMS = 100
"""Most problems shown for one recipe; a list of thousands helps nobody."""

KeyPath = tuple[str | int, ...]
"""A place in a recipe: ("search", "lr"), ("datasets", 1)."""


@dataclass(frozen=True, order=True)
class Where:
    """What the user wrote and where: a file and its line, or an override."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass(frozen=True)
class Problem:
    """One mistake. `message` continues after the key (`is 3, but must be ...`) or stands alone."""

    where: Where
    key: str
    message: str

    def __str__(self) -> str:
        message = printable(self.message)
        if not self.key:
            return f"{self.where}: {message}"
        goes_on = message.startswith(("is ", "has ", "holds ", "names "))
        return f"{self.where}: {self.key}{' ' if goes_on else ': '}{message}"


class RecipeError(UserError):
    """All problems of one or more recipes."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(dict.fromkeys(problems))
        lines = [str(problem) for problem in self.problems[:MOST_PROBLEMS]]
        if len(self.problems) > MOST_PROBLEMS:
            lines.append(f"and {len(self.problems) - MOST_PROBLEMS} more problems")
        super().__init__("\n".join(lines))


def dotted(path: KeyPath) -> str:
    """`search.per_backbone.resnet50.lr`; items of lists are named by their list."""
    parts = [printable(part[:LONGEST_SHOWN]) for part in path if isinstance(part, str)]
    return ".".join(f'"{part}"' if "." in part else part for part in parts)


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Files first, by name and line; ties keep their order."""
    return sorted(problems, key=lambda p: (p.where.line is None, p.where.source, p.where.line or 0))


def suggest(word: str, choices: tuple[str, ...]) -> str:
    """A near miss, else the list of known names if it is short."""
    near = did_you_mean(word, choices)
    return near or (f" (known: {', '.join(choices)})" if len(choices) <= 12 else "")


@dataclass(frozen=True)
class RecipeFinding:
    """A mistake at `path`, which other keys may have made one: those in `needs`.

    It is dropped if one of them is itself mistaken.
    """

    path: KeyPath
    message: str
    needs: tuple[KeyPath, ...] = ()
