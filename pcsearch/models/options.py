"""A backbone's options: check their names, types and sizes."""

from __future__ import annotations

from collections.abc import Mapping

from pcsearch.errors import UserError, did_you_mean

LARGEST_OPTION = 4096
"""Limit of every numeric option: a layer may have the square of `channels` as its width."""

OptionTypes = Mapping[str, type]
"""Option name to `bool`, `int`, `float` or `str`."""


def check_values(backbone: str, options: Mapping[str, object], types: OptionTypes) -> None:
    """Raise one `UserError` that lists every option with an unknown name, wrong type or size."""
    problems = [
        problem
        for key, value in options.items()
        if (problem := _problem(backbone, key, value, types)) is not None
    ]
    if problems:
        raise UserError("\n".join(problems))


def _problem(backbone: str, key: str, value: object, types: OptionTypes) -> str | None:
    if key not in types:
        known = ", ".join(sorted(types)) or "none"
        hint = did_you_mean(key, types)
        return f'{backbone} has no option "{key}"{hint}; its options: {known}'
    wanted = types[key]
    accepted: tuple[type, ...] = (int, float) if wanted is float else (wanted,)
    if isinstance(value, accepted) and (wanted is bool or not isinstance(value, bool)):
        if wanted in (int, float) and value > LARGEST_OPTION:  # type: ignore[operator]
            return f"{backbone}: option `{key}` is {value!r}, but must be at most {LARGEST_OPTION}"
        return None
    return f"{backbone}: option `{key}` is {value!r}, but must be of type {wanted.__name__}"
