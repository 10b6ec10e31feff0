"""How well `pcsearch probe` predicts fine-tuning, on curves that `recording` made.

The fine-tuned curve over λ/N is the mean last-epoch validation accuracy at the learning rate that
is best for that λ/N, over the seeds and splits for which the whole grid is recorded. Where confirm
trainings are recorded, their test accuracy at that rate is compared, too. The probe is run at the
same values of λ/N.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from pcsearch import probe
from search_quality_parts.recording import World

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Grid:
    """What is recorded of a world: per number of a kind, a value for every (rate, fraction)."""

    kind: str
    values: tuple[dict[tuple[float, float], float], ...]

    def mean(self, rate: float, fraction: float) -> float:
        return fmean(values[rate, fraction] for values in self.values)


def compare(world: World, files: Sequence[Path], repeats: int) -> None:
    """Print both curves, their rank correlation and how far their gains are apart."""
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    validated = [_grid(world, rows, kind) for kind in ("search", "finalists")]
    together = Grid("validation", tuple(itertools.chain(*(grid.values for grid in validated))))
    confirmed = _grid(world, rows, "confirm")
    if not together.values:
        raise SystemExit(f"{len(rows)} rows: no whole grid of {world.name} is recorded yet")
    rates = {
        fraction: max(world.rates, key=lambda rate: together.mean(rate, fraction))
        for fraction in world.fractions
    }
    curves = {"validation": [together.mean(rates[f], f) for f in world.fractions]}
    if confirmed.values:
        curves["test"] = [confirmed.mean(rates[f], f) for f in world.fractions]
    torch.set_num_threads(1)
    (curve,) = probe(world.recipe, world.overrides, lambda_over_n=world.fractions, repeats=repeats)
    predicted = [point.value for point in curve.points]
    print(
        f"{world.name}: {len(rows)} trainings; whole grids: validation {len(together.values)}, "
        f"test {len(confirmed.values)}"
    )
    print("λ/N        " + "".join(f"{fraction:8g}" for fraction in world.fractions))
    print("rate       " + "".join(f"{rates[fraction]:8g}" for fraction in world.fractions))
    for name, values in {"probe": predicted, **curves}.items():
        print(f"{name:11}" + "".join(f"{value:8.1f}" for value in values))
    for name, values in curves.items():
        gains, gains_predicted = (np.array(v[1:]) - v[0] for v in (values, predicted))
        apart = np.abs(gains - gains_predicted).mean()
        print(
            f"probe, {name}: rank correlation {spearmanr(predicted, values).statistic:+.2f} over "
            f"{len(values)} values of λ/N; gains over λ = 0 are {apart:.1f} points apart (mean)"
        )


def _grid(world: World, rows: Iterable[Row], kind: str) -> Grid:
    """The numbers of a kind for which every rate and λ/N is recorded."""
    wanted = set(itertools.product(world.rates, world.fractions))
    found: dict[int, dict[tuple[float, float], float]] = {}
    for row in rows:
        if row["kind"] == kind:
            point = (row["lr"], row["lambda_over_n"])
            found.setdefault(row["number"], {})[point] = _accuracy(world, row)
    whole = [values for values in found.values() if values.keys() >= wanted]
    return Grid(kind, tuple(whole))


def _accuracy(world: World, row: Row) -> float:
    """Percent: on the test images for `confirm`, else on the validation ones; 0 if it diverged."""
    if len(row["values"]) < world.epochs:
        return 0.0
    if row["kind"] != "confirm":
        return float(row["values"][-1])
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(row["hits"]), np.uint8))
    return 100.0 * float(bits[: row["test_images"]].mean())


__all__ = ["compare"]
