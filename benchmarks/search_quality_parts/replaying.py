"""Campaigns replayed from recorded curves, by the very objects that decide live ones.

A `Replayed` world is one of: PC as it was recorded; PC without any effect (it learns as the control
did); with `effect` points on top; with its best learning rate moved by `shift` (a factor). A value is
the recorded mean curve, interpolated over learning rate and λ/N, plus the residual curve of a
recorded training near it, drawn anew for each seed and split. So the noise is the recorded one:
seeds, splits and validation images. What all trainings of one split have in common is left out; it
cancels in every comparison that a campaign makes.
"""

from __future__ import annotations

import base64
import json
import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pcsearch.recipe.space import Space
from pcsearch.search.plan import (
    ArmPlan,
    ImageCounts,
    Plan,
    StudyPlan,
    confirm_seeds,
    default_startup,
)
from pcsearch.search.state import CampaignState
from pcsearch.search.trial import TrialSpec
from pcsearch.search.verdict import gain_of, verdict_on
from pcsearch.simulation.cluster import ClusterModel
from pcsearch.simulation.simulator import simulate

CLASSES = {"fieldguide": 20, "birds-squeezenet": 10, "birds-mobilenet": 10}
IMAGES = {
    "fieldguide": ImageCounts(fit=760, val=200, train=960, test=640),
    "birds-squeezenet": ImageCounts(fit=240, val=60, train=300, test=281),
    "birds-mobilenet": ImageCounts(fit=240, val=60, train=300, test=281),
}


@dataclass(frozen=True)
class Point:
    """A grid point: mean curves, residuals, and test hits of its trainings."""

    values: np.ndarray  # [epochs] mean validation accuracy of trainings on a part
    residuals: np.ndarray  # [n, epochs]
    test: float
    test_residuals: np.ndarray  # [m]
    hits: tuple[str, ...]
    diverged: float


class Curves:
    """The recorded grid of one world."""

    def __init__(self, name: str, rows: Iterable[dict[str, Any]], half: int | None = None) -> None:
        self.name = name
        rows = [row for row in rows if half is None or row["number"] % 2 == half or row["kind"] == "finalists"]  # fmt: skip
        self.rates = sorted({row["lr"] for row in rows})
        self.fractions = sorted({row["lambda_over_n"] for row in rows})
        self.epochs = max(len(row["values"]) for row in rows)
        self.test_images = rows[0]["test_images"]
        common = self._common(rows)
        self._smoothed: dict[tuple[float, float, str], Any] = {}
        self.grid = {
            (lr, fraction): self._point(
                [r for r in rows if (r["lr"], r["lambda_over_n"]) == (lr, fraction)], common
            )
            for lr in self.rates
            for fraction in self.fractions
        }

    def _common(self, rows: Sequence[dict[str, Any]]) -> dict[tuple[str, int], np.ndarray]:
        """What all trainings of a kind and number have in common: their split's, their seed's."""
        cells: dict[tuple[float, float], list[np.ndarray]] = {}
        for row in rows:
            if row["kind"] != "confirm" and len(row["values"]) == self.epochs:
                cells.setdefault((row["lr"], row["lambda_over_n"]), []).append(
                    np.array(row["values"])
                )
        means = {cell: np.mean(of, axis=0) for cell, of in cells.items()}
        found: dict[tuple[str, int], list[np.ndarray]] = {}
        for row in rows:
            if row["kind"] != "confirm" and len(row["values"]) == self.epochs:
                rest = np.array(row["values"]) - means[row["lr"], row["lambda_over_n"]]
                found.setdefault((row["kind"], row["number"]), []).append(rest)
        return {key: np.mean(of, axis=0) for key, of in found.items()}

    def _point(
        self, rows: list[dict[str, Any]], common: dict[tuple[str, int], np.ndarray]
    ) -> Point:
        fits = [r for r in rows if r["kind"] != "confirm"]
        whole = [r for r in fits if len(r["values"]) == self.epochs]
        curves = np.array([np.array(r["values"]) - common[r["kind"], r["number"]] for r in whole])
        if not len(curves):
            curves = np.zeros((2, self.epochs))
        n = max(2, len(curves))
        tested = [r for r in rows if r["kind"] == "confirm" and r["hits"]]
        bits = [np.unpackbits(np.frombuffer(bytes.fromhex(r["hits"]), np.uint8)) for r in tested]
        scores = np.array(
            [100 * b[: self.test_images].mean() for b in bits] or [100 / CLASSES[self.name]]
        )
        m = max(2, len(scores))
        return Point(
            values=curves.mean(axis=0),
            residuals=(curves - curves.mean(axis=0)) * math.sqrt(n / (n - 1)),
            test=float(scores.mean()),
            test_residuals=(scores - scores.mean()) * math.sqrt(m / (m - 1)),
            hits=tuple(base64.b64encode(bytes.fromhex(r["hits"])).decode() for r in tested),
            diverged=1 - len(whole) / max(1, len(fits)),
        )

    def near(self, lr: float, fraction: float, draw: random.Random) -> Point:
        """One of the grid points around, the nearer the likelier."""
        return self.grid[
            _pick(self.rates, lr, draw, log=True), _pick(self.fractions, fraction, draw)
        ]

    def mean(self, lr: float, fraction: float, what: str = "test") -> Any:
        """Interpolated linearly in log lr and in λ/N."""
        total: Any = 0.0
        for rate, a in _weights(self.rates, lr, log=True):
            for part, b in _weights(self.fractions, fraction):
                total = total + a * b * self._smooth(rate, part, what)
        return total

    def _smooth(self, rate: float, part: float, what: str) -> Any:
        """A grid point's mean with its neighbours' over learning rates, weights ¼, ½, ¼.

        A mean of a few trainings is off by some points. Unsmoothed, that would be a landscape of
        bumps that no real search meets.
        """
        if (rate, part, what) not in self._smoothed:
            at = self.rates.index(rate)
            sides = [self.rates[max(0, at - 1)], rate, rate, self.rates[min(len(self.rates) - 1, at + 1)]]
            values = [getattr(self.grid[side, part], what) for side in sides]
            self._smoothed[rate, part, what] = sum(values) / 4
        return self._smoothed[rate, part, what]


def _weights(grid: Sequence[float], value: float, log: bool = False) -> list[tuple[float, float]]:
    scale = math.log if log else float
    if value <= grid[0]:
        return [(grid[0], 1.0)]
    if value >= grid[-1]:
        return [(grid[-1], 1.0)]
    above = next(k for k, point in enumerate(grid) if point >= value)
    low, high = grid[above - 1], grid[above]
    share = (scale(value) - scale(low)) / (scale(high) - scale(low))
    return [(low, 1 - share), (high, share)]


def _pick(grid: Sequence[float], value: float, draw: random.Random, log: bool = False) -> float:
    options = _weights(grid, value, log)
    return options[0][0] if draw.random() < options[0][1] else options[-1][0]


class Replayed:
    """What the trials of one campaign measure; see the module."""

    def __init__(
        self,
        curves: Curves,
        campaign: int,
        *,
        recorded: bool = False,
        effect: float = 0.0,
        shift: float = 1.0,
        noise: float = 1.0,
    ) -> None:
        self.curves, self.campaign = curves, campaign
        self.recorded, self.effect, self.shift, self.noise = recorded, effect, shift, noise

    def where(self, arm: str, config: dict[str, Any]) -> tuple[float, float]:
        if arm == "control":
            return config["lr"], 0.0
        return config["lr"] / self.shift, config["lambda_over_n"] if self.recorded else 0.0

    def truth(self, arm: str, config: dict[str, Any]) -> float:
        """The expected test accuracy."""
        return float(self.curves.mean(*self.where(arm, config))) + self._gain(arm)

    def value(self, spec: TrialSpec, epoch: int) -> float:
        lr, fraction = self.where(spec.arm, spec.config)
        draw = self._draw(spec)
        point = self.curves.near(lr, fraction, draw)
        if draw.random() < point.diverged:
            return math.nan
        if spec.phase == "confirm":
            mean = float(self.curves.mean(lr, fraction))
            return mean + self._gain(spec.arm) + float(draw.choice(point.test_residuals))
        mean = self.curves.mean(lr, fraction, "values")[epoch - 1]
        residual = point.residuals[draw.randrange(len(point.residuals))][epoch - 1]
        learned = min(1.0, max(0.0, (mean - 100 / CLASSES[self.curves.name]) / 20))
        return float(mean + self.noise * residual + self._gain(spec.arm) * learned)

    def hits(self, spec: TrialSpec) -> str | None:
        """Of a recorded training near it: how hits scatter over images is real."""
        lr, fraction = self.where(spec.arm, spec.config)
        draw = self._draw(spec)
        point = self.curves.near(lr, fraction, draw)
        return draw.choice(point.hits) if point.hits else None

    def seconds_per_image(self, study: str) -> float:
        return 1e-3

    def _gain(self, arm: str) -> float:
        return self.effect if arm == "pc" else 0.0

    def _draw(self, spec: TrialSpec) -> random.Random:
        c = spec.config
        return random.Random(
            f"{self.campaign} {spec.arm} {c['seed']} {c['split']} {c['lr']:.6g} {c['lambda_over_n']:.6g}"
        )


def read(folder: Path, name: str) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for file in sorted(folder.glob(f"{name}.*jsonl"))
        for line in file.read_text().splitlines()
    ]


def plan_of(
    curves: Curves, seed: int, *, trials: int, lr: Space, fractions: Space, **changes: Any
) -> Plan:
    def arm(name: str) -> ArmPlan:
        own = {"lambda_over_n": fractions} if name == "pc" else {}
        parameter = "lambda_over_n" if own else None
        return ArmPlan(
            name=name,
            variant="euclidean",
            parameter=parameter,
            trials=trials,
            space={"lr": lr} | own,
            fixed={},
        )

    study = StudyPlan(
        id="q/n", dataset="q", backbone="n", num_classes=CLASSES[curves.name],
        images=IMAGES[curves.name], split_hash="0" * 16, arms=(arm("control"), arm("pc")),
    )  # fmt: skip
    values: dict[str, Any] = {
        "name": "q", "metric": "top1", "studies": (study,), "max_epochs": curves.epochs, "grace_epochs": 2,
        "reduction_factor": 3, "sampler": "tpe", "startup_trials": default_startup(trials), "seed": seed,
        "finalist_configs": 2, "finalist_repeats": 4, "confirm_seeds": confirm_seeds(seed, 5),
        "confirm_epochs": curves.epochs, "rung_rule": "noise", "full_trainings": 4, "widen": "auto",
    }  # fmt: skip
    return Plan(**values | changes)


@dataclass(frozen=True)
class Outcome:
    """One replayed campaign."""

    word: str
    mean: float
    low: float
    high: float
    regret: dict[str, float]
    epochs: dict[str, int]
    full: dict[str, int]
    parts: tuple[float | None, float | None, float | None]
    reason: str | None


def campaign(world: Replayed, plan: Plan, oracle: dict[str, float]) -> Outcome:
    done = simulate(plan, ClusterModel(nodes=1, slots_per_node=2, always=1), world, width=2)
    state: CampaignState = done.state
    study = plan.studies[0]
    gain = gain_of(state, study, "pc")
    verdict = verdict_on(state, study, "pc", gain)
    arms = {name: state.arms["q/n", name] for name in ("control", "pc")}
    return Outcome(
        verdict.word,
        gain.mean if gain else math.nan,
        gain.low if gain and gain.low is not None else -math.inf,
        gain.high if gain and gain.high is not None else math.inf,
        {n: oracle[n] - world.truth(n, a.choice.config) for n, a in arms.items() if a.choice},
        {n: sum(t.last_epoch for t in a.trials["search"]) for n, a in arms.items()},
        {n: a.complete for n, a in arms.items()},
        (gain.parts.seeds, gain.parts.search, gain.parts.images) if gain else (None,) * 3,
        verdict.reason,
    )


def oracle_of(world: Replayed, lr: Space, fractions: Space) -> dict[str, float]:
    """The best expected test accuracy of each arm over a fine grid of its ranges."""
    rates = np.geomspace(float(lr.low or 0), float(lr.high or 0), 60)
    parts = np.linspace(float(fractions.low or 0), float(fractions.high or 0), 15)
    return {
        "control": max(world.truth("control", {"lr": r}) for r in rates),
        "pc": max(world.truth("pc", {"lr": r, "lambda_over_n": f}) for r in rates for f in parts),
    }
