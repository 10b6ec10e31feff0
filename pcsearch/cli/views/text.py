"""Small pieces of text that every view uses: durations, percentages, λ, sparklines, bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from pcsearch.arms import symbol_of
from pcsearch.recipe.search_space import SHARED

_NOT_OWN = ("lambda", "lambda_over_n", "seed", "split")
NOTHING = "–"
_LEVELS = "▁▂▃▄▅▆▇█"


def short_duration(seconds: float) -> str:
    """Seconds as `0:07`, `12:34` or `1:02:03`."""
    whole = max(0, round(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def age(seconds: float) -> str:
    """An age in the largest unit that fits: `12 s`, `5 min`, `3 h`, `9 d`."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(max(0, seconds))} s"


def short_percent(value: float | None) -> str:
    """A percentage with one decimal, without the percent sign."""
    return NOTHING if value is None else f"{value:.1f}"


def short_regulariser(config: dict[str, Any]) -> str:
    """The values of an arm's own parameters in a configuration: `λ/N 0.081`; empty for none."""
    shown = [f"λ/N {config['lambda_over_n']:.3g}"] if config.get("lambda") else []
    others = (key for key in config if key not in (*SHARED, *_NOT_OWN))
    return ", ".join([*shown, *(f"{symbol_of(key)} {config[key]:.3g}" for key in others)])


def count(number: int, thing: str) -> str:
    """`1 trial`, `2 trials`, `2 studies`, `1,234 epochs`."""
    several = f"{thing[:-1]}ies" if thing.endswith("y") else f"{thing}s"
    return f"{number:,} {thing if number == 1 else several}"


def sparkline(values: Sequence[float], width: int) -> str:
    """A curve in block characters from its minimum; thinned to at most `width`."""
    if not values:
        return ""
    if len(values) > width:
        last = len(values) - 1
        values = [values[round(i * last / max(1, width - 1))] for i in range(width)]
    low, span = min(values), max(values) - min(values)
    if span == 0:
        return _LEVELS[len(_LEVELS) // 2] * len(values)
    top = len(_LEVELS) - 1
    return "".join(_LEVELS[round(top * (value - low) / span)] for value in values)


def bar(fraction: float, width: int) -> Text:
    """A progress bar, heavy for the done part and light for the rest; needs no colour."""
    done = min(width, max(0, int(fraction * width + 1e-9)))
    style = "green" if done == width else "cyan"
    return Text.assemble(("━" * done, style), ("─" * (width - done), "dim"))
