"""How well `pcsearch probe` predicts fine-tuning, on curves that `recording` made.

The fine-tuned curve over λ/N is the mean last-epoch validation accuracy at the learning rate that
is best for that λ/N, over the trainings (search and finalists) for which the whole grid is
recorded. `test` is the accuracy of the same trainings, at the same rates, on the test images, which
are more and chose nothing. `confirm` are those on all training images. The probe is run at the
same values of λ/N.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from pcsearch import probe
from search_quality_parts.recording import World

Row = Mapping[str, Any]
Point = tuple[float, float]
"""A learning rate and a λ/N."""


def compare(world: World, files: Sequence[Path], repeats: int) -> None:
    """Print both curves, their rank correlation and how far their gains are apart."""
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    searched = _whole_grids(world, rows, ("search", "finalists"))
    confirmed = _whole_grids(world, rows, ("confirm",))
    if not searched:
        raise SystemExit(f"{len(rows)} rows: no whole grid of {world.name} is recorded yet")
    mean = {
        point: fmean(_on_validation(world, grid[point]) for grid in searched)
        for point in itertools.product(world.rates, world.fractions)
    }
    best = [max((p for p in mean if p[1] == f), key=mean.__getitem__) for f in world.fractions]
    curves = {"validation": [mean[point] for point in best]}
    for name, grids in (("test", searched), ("confirm", confirmed)):
        if grids:
            curves[name] = [fmean(_on_test(grid[point]) for grid in grids) for point in best]
    torch.set_num_threads(1)
    (curve,) = probe(world.recipe, world.overrides, lambda_over_n=world.fractions, repeats=repeats)
    predicted = [point.value for point in curve.points]
    print(
        f"{world.name}: {len(rows)} trainings; {len(searched)} whole grids of search and "
        f"finalists, {len(confirmed)} of confirm; the probe says: {curve.conclusion()}"
    )
    _line("λ/N", world.fractions, "8g")
    _line("rate", [rate for rate, _ in best], "8g")
    for name, values in {"probe": predicted, **curves}.items():
        _line(name, values, "8.1f")
    for name, values in curves.items():
        gains, predicted_gains = (np.array(v[1:]) - v[0] for v in (values, predicted))
        apart = np.abs(gains - predicted_gains).mean()
        print(
            f"probe and {name}: rank correlation {spearmanr(predicted, values).statistic:+.2f} of "
            f"{len(values)} values; their gains over λ = 0 differ by {apart:.1f} points (mean)"
        )


def _line(name: str, values: Sequence[float], form: str) -> None:
    print(f"{name:11}" + "".join(f"{value:{form}}" for value in values))


def _whole_grids(
    world: World, rows: Sequence[Row], kinds: Collection[str]
) -> list[dict[Point, Row]]:
    """Of each kind and number whose every rate and λ/N is recorded, the row at each point."""
    found: dict[tuple[str, int], dict[Point, Row]] = {}
    for row in rows:
        if row["kind"] in kinds:
            grid = found.setdefault((row["kind"], row["number"]), {})
            grid[row["lr"], row["lambda_over_n"]] = row
    wanted = set(itertools.product(world.rates, world.fractions))
    return [grid for grid in found.values() if grid.keys() >= wanted]


def _on_validation(world: World, row: Row) -> float:
    """Percent after the last epoch; 0 of a training that diverged before."""
    return float(row["values"][-1]) if len(row["values"]) == world.epochs else 0.0


def _on_test(row: Row) -> float:
    """Percent; 0 of a training that diverged."""
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(row["hits"]), np.uint8))
    return 100.0 * int(bits[: row["test_images"]].sum()) / int(row["test_images"])
