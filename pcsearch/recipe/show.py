"""How a value looks in a message: as YAML writes it, cut to a readable length."""

from __future__ import annotations

from collections.abc import Mapping

from pcsearch.printable import printable

LONGEST = 60


def show(value: object) -> str:
    """`true`, `null`, `"text"`, `[1, 2]`, `{low: 0.1}`: at most `LONGEST` characters."""
    text = _text(value, depth=0)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _text(value: object, depth: int) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if abs(value) < 10**LONGEST else "a huge number"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else str(value)
    if isinstance(value, str):
        return f'"{printable(value[:LONGEST])}"'
    if depth > 2:
        return "..."
    if isinstance(value, Mapping):
        items = list(value.items())[:LONGEST]
        inner = (f"{printable(str(key)[:LONGEST])}: {_text(v, depth + 1)}" for key, v in items)
        return "{" + ", ".join(inner) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_text(item, depth + 1) for item in value[:LONGEST]) + "]"
    return printable(str(value)[:LONGEST])
