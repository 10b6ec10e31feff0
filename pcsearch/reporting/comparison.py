"""Several runs side by side: what differs between them, their gains, and the mean over datasets."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pcsearch.arms import CONTROL
from pcsearch.reporting import formatting as fmt
from pcsearch.reporting.summary_types import ArmSummary, StudySummary, Summary

_FEWEST_DATASETS = 6
"""With fewer, Wilcoxon's two-sided test cannot reach 5 %: with 5 its least p-value is 1 / 16."""

_SCALE = 21
"""Characters of a forest plot's line."""


@dataclass(frozen=True)
class ComparedRun:
    """A run to compare: its name, its summary, and all that may differ, as text by key."""

    name: str
    summary: Summary
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Result:
    """An arm of a study in one run."""

    run: str
    study: StudySummary
    name: str
    arm: ArmSummary


@dataclass(frozen=True)
class Overall:
    """An arm's gains over datasets, each the mean over its studies and runs.

    `p_value` is that of Wilcoxon's signed-rank test, two-sided; None for fewer than six datasets.
    """

    arm: str
    gains: Mapping[str, float]
    p_value: float | None

    @property
    def mean(self) -> float:
        return fmean(self.gains.values())


@dataclass(frozen=True)
class Comparison:
    """What `pcsearch compare` shows.

    Attributes:
        runs: The runs, in the order given.
        differences: By key, the value in each run; None where a run does not have the key.
        results: Arms with a test result, by study, then by arm, then by run.
        overall: By arm, over at least two datasets.
    """

    runs: tuple[ComparedRun, ...]
    differences: Mapping[str, tuple[Any, ...]]
    results: tuple[Result, ...]
    overall: tuple[Overall, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "runs": [run.name for run in self.runs],
            "differences": {key: list(values) for key, values in self.differences.items()},
            "results": [
                {"run": one.run, "study": one.study.id, "arm": one.name} | one.arm.to_json()
                for one in self.results
            ],
            "overall": [
                {"arm": one.arm, "gains": dict(one.gains), "mean": one.mean, "p_value": one.p_value}
                for one in self.overall
            ],
        }


def compare(runs: Sequence[ComparedRun]) -> Comparison:
    """Two or more runs side by side; a study that only some have is shown for these."""
    studies = list(dict.fromkeys(study.id for run in runs for study in run.summary.studies))
    found = [
        Result(run.name, study, name, arm)
        for run in runs
        for study in run.summary.studies
        for name, arm in study.arms.items()
        if arm.test_top1 is not None
    ]
    arms = list(dict.fromkeys(one.name for one in found))
    found.sort(key=lambda one: (studies.index(one.study.id), arms.index(one.name)))
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    values = {key: tuple(run.settings.get(key) for run in runs) for key in keys}
    differences = {key: row for key, row in values.items() if any(one != row[0] for one in row)}
    overall = (_overall(name, found) for name in arms if name != CONTROL)
    return Comparison(
        tuple(runs),
        differences | _splits(runs, studies),
        tuple(found),
        tuple(one for one in overall if len(one.gains) > 1),
    )


def _splits(runs: Sequence[ComparedRun], studies: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """The hashes of the splits of studies whose images or splits differ between runs."""
    found = {}
    for name in studies:
        hashes = tuple(
            next((one.split_hash for one in run.summary.studies if one.id == name), None)
            for run in runs
        )
        if len(set(hashes) - {None}) > 1:
            found[f"images and splits of {name}"] = hashes
    return found


def _overall(arm: str, results: Sequence[Result]) -> Overall:
    by_dataset: dict[str, list[float]] = {}
    for one in results:
        if one.name == arm and one.arm.gain is not None:
            by_dataset.setdefault(one.study.dataset, []).append(one.arm.gain.mean)
    gains = {dataset: fmean(values) for dataset, values in by_dataset.items()}
    p_value = None
    if len(gains) >= _FEWEST_DATASETS and any(gains.values()):
        from scipy.stats import wilcoxon

        p_value = float(wilcoxon(list(gains.values())).pvalue)
    return Overall(arm, gains, p_value)


def comparison_view(comparison: Comparison, width: int) -> RenderableType:
    """Differences, then a table for each study with a forest plot where it fits, then the means."""
    parts: list[RenderableType] = []
    if comparison.differences:
        parts += [Text("What differs:"), _differences(comparison), Text()]
    else:
        parts += [Text("Nothing differs in recipe, images, splits and versions."), Text()]
    studies = list(dict.fromkeys(one.study.id for one in comparison.results))
    wide = [_results(comparison, study, forest=True) for study in studies]
    fits = all(fmt.natural_width(table) <= width for table in wide)
    tables = wide if fits else [_results(comparison, study, forest=False) for study in studies]
    for study, table in zip(studies, tables, strict=True):
        parts += [Text(study, "bold"), table, Text()]
    if fits and studies:
        parts.append(Text("● gain, ─ its interval, │ no difference; ◂ ▸ it goes on."))
    parts += [Text(line) for line in _sentences(comparison)]
    return Group(*parts)


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))


def _differences(comparison: Comparison) -> Table:
    table = _table()
    table.add_column("", overflow="fold")
    for run in comparison.runs:
        table.add_column(run.name, overflow="fold")
    for key, row in comparison.differences.items():
        table.add_row(key, *(_shown(value) for value in row))
    return table


def _shown(value: Any) -> str:
    if value is None:
        return fmt.ABSENT
    if isinstance(value, list | tuple):
        return ", ".join(_shown(one) for one in value) or "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _results(comparison: Comparison, study: str, *, forest: bool) -> Table:
    table = _table()
    table.add_column("arm", overflow="fold")
    table.add_column("run", overflow="fold")
    table.add_column("test", justify="right", no_wrap=True)
    table.add_column("gain [interval]", no_wrap=True)
    if forest:
        table.add_column("", no_wrap=True)
    table.add_column("verdict")
    reach, before = _reach(comparison), ""
    for one in comparison.results:
        if one.study.id != study:
            continue
        label = fmt.label(one.name)
        row = [label if label != before else "", one.run, fmt.scores(one.arm.test_top1)]
        row.append("" if one.name == CONTROL else fmt.gain_text(one.arm.gain))
        row += [_line(one.arm, reach)] if forest else []
        table.add_row(*row, one.arm.verdict.word if one.arm.verdict else "")
        before = label
    return table


def _reach(comparison: Comparison) -> float:
    """Half the width of the forest plot in points: three times the typical half interval."""
    gains = [one.arm.gain for one in comparison.results if one.arm.gain is not None]
    halves = [(g.high - g.low) / 2 for g in gains if g.low is not None and g.high is not None]
    most = max((abs(gain.mean) for gain in gains), default=0.0)
    return max(1.2 * most, 3 * median(halves) if halves else 0.0, 1e-9)


def _line(arm: ArmSummary, reach: float) -> str:
    """A line of the forest plot; empty for the control."""
    gain = arm.gain
    if gain is None:
        return ""
    middle = _SCALE // 2

    def place(value: float) -> int:
        return middle + round(max(-1.0, min(1.0, value / reach)) * middle)

    line = [" "] * _SCALE
    if gain.low is not None and gain.high is not None:
        low, high = place(gain.low), place(gain.high)
        line[low : high + 1] = "─" * (high - low + 1)
        if gain.low < -reach:
            line[0] = "◂"
        if gain.high > reach:
            line[-1] = "▸"
    line[middle] = "│"
    line[place(gain.mean)] = "●"
    return "".join(line)


def _sentences(comparison: Comparison) -> list[str]:
    lines = []
    for one in comparison.overall:
        datasets = ", ".join(f"{name} {fmt.points(gain)}" for name, gain in one.gains.items())
        if one.p_value is not None and math.isfinite(one.p_value):
            told = f"Wilcoxon's signed-rank test over datasets: {fmt.p_value(one.p_value)}"
        else:
            told = (
                f"Wilcoxon's test over datasets needs at least {_FEWEST_DATASETS} to say something"
            )
        lines.append(
            f"{fmt.label(one.arm)} over {len(one.gains)} datasets: mean gain "
            f"{fmt.points(one.mean)} ({datasets}). {told}."
        )
    if any(key.startswith("images and splits") for key in comparison.differences):
        lines.append(
            "Runs with other images or splits have other test images: compare their gains, not "
            "their accuracies."
        )
    return lines
