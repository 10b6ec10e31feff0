"""Formats numbers for people: percent with two decimals, times in two units."""

from __future__ import annotations

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from pcsearch.arms import label_of, symbol_of
from pcsearch.printable import printable
from pcsearch.reporting.summary_types import ArmSummary, Scores, StudySummary, Summary
from pcsearch.search.verdicts.gain import Gain


def natural_width(table: Table) -> int:
    """Columns of a terminal that the table needs without folding."""
    console = Console(width=10_000, markup=False, emoji=False)
    return Measurement.get(console, console.options, table).maximum


ABSENT = "–"


def label(arm: str) -> str:
    """An arm's name in prose."""
    return label_of(arm)


def percent(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.2f}"


def scores(value: Scores | None) -> str:
    """`81.20 ± 0.31`, or a single value alone."""
    if value is None:
        return ABSENT
    return percent(value.mean) if value.std is None else f"{value.mean:.2f} ± {value.std:.2f}"


def points(value: float, decimals: int = 2) -> str:
    """A difference with its sign; one that rounds to zero has none."""
    text = f"{value:+.{decimals}f}"
    return text if float(text) else text[1:]


def interval(gain: Gain | None) -> str:
    """`[+0.40, +2.06]`, empty without an interval."""
    if gain is None or gain.low is None or gain.high is None:
        return ""
    return f"[{points(gain.low)}, {points(gain.high)}]"


def gain_text(gain: Gain | None) -> str:
    """`+1.23 [+0.40, +2.06]`."""
    return ABSENT if gain is None else f"{points(gain.mean)} {interval(gain)}".rstrip()


def level(gain: Gain) -> str:
    """`96 %`: the level of the interval."""
    return f"{100 * gain.level:.4g} %"


def p_value(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def first_line(error: str | None) -> str:
    """The first line of an error, safe to print."""
    return printable((error or "").strip().partition("\n")[0]) or "no reason given"


def significant(value: float) -> str:
    """Three significant digits: `19.3`, `2.10`, `0.0964`."""
    if value == 0 or abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:#.3g}".rstrip(".")


def regulariser_text(arm: ArmSummary) -> str:
    """The values of an arm's own parameters, λ/N as λ; `–` before the choice and for none."""
    return ", ".join(significant(value) for _, value in strengths(arm)) or ABSENT


def strengths(arm: ArmSummary) -> list[tuple[str, float]]:
    """Symbol and value of each of an arm's own parameters, λ/N as λ; the control has λ = 0."""
    known = [] if arm.lambda_ is None else [("λ", arm.lambda_)]
    others = (name for name in arm.own if name not in ("lambda", "lambda_over_n"))
    known += [(symbol_of(name), arm.config[name]) for name in others if name in arm.config]
    return known


def fraction(arm: ArmSummary) -> str:
    return ABSENT if arm.lambda_over_n is None else significant(arm.lambda_over_n)


def duration(seconds: float) -> str:
    """`45 s`, `1 min 32 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def headline(study: StudySummary) -> str | None:
    """The arm that the table shows: PC if it competes, else the first that does."""
    competing = [name for name in study.arms if name != "control"]
    return "pc" if "pc" in competing else next(iter(competing), None)


def other_arms(study: StudySummary) -> list[str]:
    """The arms that the table leaves out."""
    return [name for name in study.arms if name not in ("control", headline(study))]


def campaign_headline(summary: Summary) -> str:
    """`headline` of the campaign, whose studies all have the same arms."""
    names = [headline(study) for study in summary.studies]
    return next((name for name in names if name is not None), "pc")


def times(number: int) -> str:
    """`once`, `twice`, `3 times`."""
    return {1: "once", 2: "twice"}.get(number, f"{number} times")
