"""A measured figure, the table of them, and what a reader must know of the machine."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "torchvision", "ray", "optuna", "numpy", "pillow")


@dataclass(frozen=True)
class Figure:
    """One figure of the table.

    Attributes:
        name: what it is.
        measured: None where it could not be measured; `note` says why.
        wanted: the bound, None for a figure that is reported without one.
        at_least: whether `wanted` is a lower bound.
        unit: of both numbers, empty for a ratio.
        spread: the quartiles over the repeats, where there are repeats.
        note: how to read it, in a few words.
        details: whatever else belongs into the JSON.
    """

    name: str
    measured: float | None
    wanted: float | None = None
    at_least: bool = True
    unit: str = ""
    spread: tuple[float, float] | None = None
    note: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        if self.measured is None or self.wanted is None:
            return None
        return self.measured >= self.wanted if self.at_least else self.measured <= self.wanted


def figure_of(name: str, values: Sequence[float], **others: Any) -> Figure:
    """The median of repeated values, with their quartiles."""
    return Figure(name, statistics.median(values), spread=quartiles(values), **others)


def quartiles(values: Sequence[float]) -> tuple[float, float] | None:
    """The first and third quartile; None for fewer than two values."""
    if len(values) < 2:
        return None
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, third


def table(figures: Iterable[Figure]) -> str:
    """One line a figure: name, wanted, measured, quartiles, met or not."""
    rows = [("figure", "wanted", "measured", "quartiles", "met", "note")]
    rows += [_row(figure) for figure in figures]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[5]])
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in [lines[0], "─" * len(lines[0]), *lines[1:]])


def _row(figure: Figure) -> tuple[str, ...]:
    def number(value: float | None) -> str:
        return "–" if value is None else f"{value:.3f} {figure.unit}".rstrip()

    bound = "≥" if figure.at_least else "≤"
    wanted = "–" if figure.wanted is None else f"{bound} {figure.wanted:g} {figure.unit}".rstrip()
    spread = "" if figure.spread is None else "{:.3f} to {:.3f}".format(*figure.spread)
    met = {None: "–", True: "yes", False: "NO"}[figure.met]
    return (figure.name, wanted, number(figure.measured), spread, met, figure.note)


def machine() -> dict[str, Any]:
    """CPU, cores, memory, load when the measurement began, and versions."""
    facts: dict[str, Any] = {
        "cpu": _proc_value("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "memory": _proc_value("/proc/meminfo", "MemTotal"),
        "load_average": os.getloadavg(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }
    for package in PACKAGES:
        try:
            facts[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            facts[package] = None
    facts["gpu"] = _gpu()
    return facts


def _gpu() -> str | None:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def _proc_value(path: str, key: str) -> str | None:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    found = (line.partition(":")[2].strip() for line in lines if line.startswith(key))
    return next(found, None)


def write_json(path: Path, figures: Sequence[Figure], facts: dict[str, Any]) -> None:
    """Everything that was measured, for later comparison."""
    content = {
        "machine": facts,
        "figures": [{**asdict(figure), "met": figure.met} for figure in figures],
    }
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
