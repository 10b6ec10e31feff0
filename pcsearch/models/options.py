"""A backbone's options: check their names, types and sizes."""

from __future__ import annotations

from collections.abc import Mapping

from pcsearch.errors import did_you_mean

LARGEST_OPTION = 4096
"""Limit of every numeric option: a layer may have the square of `channels` as its width."""

_LONGEST = 60
"""Characters of a mistaken name or value in a message."""

OptionTypes = Mapping[str, type]
"""Option name to `bool`, `int`, `float` or `str`."""


def wrong_values(
    backbone: str, options: Mapping[str, object], types: OptionTypes
) -> dict[str, str]:
    """Each option with an unknown name, a wrong type or size, and what is wrong with it."""
    problems = {key: _problem(backbone, key, value, types) for key, value in options.items()}
    return {key: problem for key, problem in problems.items() if problem is not None}


def _problem(backbone: str, key: str, value: object, types: OptionTypes) -> str | None:
    if key not in types:
        known = ", ".join(sorted(types)) or "none"
        hint = did_you_mean(key, types) or f" (its options: {known})"
        return f'{backbone} has no option "{key[:_LONGEST]}"{hint}'
    wanted, shown = types[key], repr(value)[:_LONGEST]
    accepted: tuple[type, ...] = (int, float) if wanted is float else (wanted,)
    if isinstance(value, accepted) and (wanted is bool or not isinstance(value, bool)):
        if wanted in (int, float) and value > LARGEST_OPTION:  # type: ignore[operator]
            return f"{backbone}: option `{key}` is {shown}, but must be at most {LARGEST_OPTION}"
        return None
    return f"{backbone}: option `{key}` is {shown}, but must be of type {wanted.__name__}"
