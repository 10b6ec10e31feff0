"""Campaigns replayed from recorded curves, by the very objects that decide live ones.

In a `Replayed` world PC is as it was recorded; or it has no effect, and learns as the control did;
or it has `effect` points on top; or its best learning rate is moved by a factor, `shift`. A value
is the recorded mean curve, interpolated over learning rate and λ/N, plus the residual curve of a
recorded training near it, drawn anew for each seed and split. So the noise is the recorded one:
of seeds, splits and validation images. `noise` multiplies it. What all trainings of one split have
in common is left out; it cancels in every comparison that a campaign makes.
"""

from __future__ import annotations

import base64
import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pcsearch.recipe.search_space import Space
from pcsearch.search.plan import (
    ArmPlan,
    ImageCounts,
    Plan,
    StudyPlan,
    confirm_seeds,
    default_startup,
)
from pcsearch.search.trial import TrialSpec
from pcsearch.search.verdicts.verdict import gain_of, verdict_on
from pcsearch.simulation.cluster import ClusterModel
from pcsearch.simulation.simulator import simulate

Row = dict[str, Any]
CLASSES = {"fieldguide": 20, "birds-squeezenet": 10, "birds-mobilenet": 10}
BIRDS = ImageCounts(fit=240, val=60, train=300, test=281)
IMAGES = {
    "fieldguide": ImageCounts(fit=760, val=200, train=960, test=640),
    "birds-squeezenet": BIRDS,
    "birds-mobilenet": BIRDS,
}


@dataclass(frozen=True)
class Point:
    """What was recorded at one learning rate and λ/N.

    Attributes:
        values: [epochs] mean validation accuracy of trainings on a part of the training images.
        residuals: [n, epochs] what each of them differs by, spread as single trainings are.
        test: Mean test accuracy of trainings on all training images.
        test_residuals: [m] what each of these differs by.
        hits: Their test images named right, as a journal holds them.
        diverged: Share of trainings that diverged.
    """

    values: np.ndarray
    residuals: np.ndarray
    test: float
    test_residuals: np.ndarray
    hits: tuple[str, ...]
    diverged: float


class Curves:
    """The recorded grid of one world.

    Args:
        name: Of the world.
        rows: One a training.
        half: 0 or 1 takes the trainings with even or odd numbers alone; None takes all.
    """

    def __init__(self, name: str, rows: Iterable[Row], half: int | None = None) -> None:
        self.name = name
        rows = [row for row in rows if half is None or row["number"] % 2 == half]
        self.rates = sorted({row["lr"] for row in rows})
        self.fractions = sorted({row["lambda_over_n"] for row in rows})
        self.epochs = max(len(row["values"]) for row in rows)
        self.test_images = rows[0]["test_images"]
        self._smoothed: dict[tuple[float, float, str], Any] = {}
        common = self._common(rows)
        cells: dict[tuple[float, float], list[Row]] = {}
        for row in rows:
            cells.setdefault((row["lr"], row["lambda_over_n"]), []).append(row)
        points = {cell: self._point(of, common) for cell, of in cells.items()}
        self.grid = {cell: self._pooled(points, cell) for cell in points}

    def near(self, lr: float, fraction: float, draw: random.Random) -> Point:
        """One of the grid points around, the nearer the likelier."""
        rate = _pick(_weights(self.rates, lr, log=True), draw)
        return self.grid[rate, _pick(_weights(self.fractions, fraction), draw)]

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
            at, last = self.rates.index(rate), len(self.rates) - 1
            around = (self.rates[max(0, at - 1)], rate, rate, self.rates[min(last, at + 1)])
            total = sum(getattr(self.grid[one, part], what) for one in around)
            self._smoothed[rate, part, what] = total / 4
        return self._smoothed[rate, part, what]

    def _pooled(self, points: dict[tuple[float, float], Point], cell: tuple[float, float]) -> Point:
        """A point with the residuals of all λ/N at its learning rate: a few are no distribution."""
        row = [points[cell[0], fraction] for fraction in self.fractions]
        return replace(
            points[cell],
            residuals=np.concatenate([point.residuals for point in row]),
            test_residuals=np.concatenate([point.test_residuals for point in row]),
        )

    def _whole(self, row: Row) -> bool:
        return row["kind"] != "confirm" and len(row["values"]) == self.epochs

    def _common(self, rows: Sequence[Row]) -> dict[tuple[str, int], np.ndarray]:
        """What all trainings of a kind and number have in common: their split's, their seed's."""
        whole = [row for row in rows if self._whole(row)]
        cells: dict[tuple[float, float], list[np.ndarray]] = {}
        for row in whole:
            cell = row["lr"], row["lambda_over_n"]
            cells.setdefault(cell, []).append(np.array(row["values"]))
        means = {cell: np.mean(of, axis=0) for cell, of in cells.items()}
        rest: dict[tuple[str, int], list[np.ndarray]] = {}
        for row in whole:
            differs = np.array(row["values"]) - means[row["lr"], row["lambda_over_n"]]
            rest.setdefault((row["kind"], row["number"]), []).append(differs)
        return {key: np.mean(of, axis=0) for key, of in rest.items()}

    def _point(self, rows: Sequence[Row], common: dict[tuple[str, int], np.ndarray]) -> Point:
        whole = [row for row in rows if self._whole(row)]
        parts = sum(row["kind"] != "confirm" for row in rows)
        curves = np.array([np.array(r["values"]) - common[r["kind"], r["number"]] for r in whole])
        if not whole:
            curves = np.full((1, self.epochs), 100 / CLASSES[self.name])
        tested = [row["hits"] for row in rows if row["kind"] == "confirm" and row["hits"]]
        bits = [np.unpackbits(np.frombuffer(bytes.fromhex(hits), np.uint8)) for hits in tested]
        scores = np.array([100 * one[: self.test_images].mean() for one in bits])
        if not tested:
            scores = np.array([100 / CLASSES[self.name]])
        return Point(
            values=curves.mean(axis=0),
            residuals=_residuals(curves),
            test=float(scores.mean()),
            test_residuals=_residuals(scores),
            hits=tuple(base64.b64encode(bytes.fromhex(hits)).decode() for hits in tested),
            diverged=1 - len(whole) / parts if parts else 0.0,
        )


def _residuals(values: np.ndarray) -> np.ndarray:
    """Differences from the mean, spread as those of single draws are."""
    count = max(2, len(values))
    return (values - values.mean(axis=0)) * math.sqrt(count / (count - 1))


def _weights(grid: Sequence[float], value: float, log: bool = False) -> list[tuple[float, float]]:
    scale = math.log if log else float
    if value <= grid[0] or value >= grid[-1]:
        return [(grid[0] if value <= grid[0] else grid[-1], 1.0)]
    above = next(k for k, point in enumerate(grid) if point >= value)
    low, high = grid[above - 1], grid[above]
    share = (scale(value) - scale(low)) / (scale(high) - scale(low))
    return [(low, 1 - share), (high, share)]


def _pick(options: Sequence[tuple[float, float]], draw: random.Random) -> float:
    return options[0][0] if draw.random() < options[0][1] else options[-1][0]


@dataclass(frozen=True)
class World:
    """How PC's arm learns; see the module. `recorded` leaves PC as it was."""

    recorded: bool = False
    effect: float = 0.0
    shift: float = 1.0
    noise: float = 1.0


class Replayed:
    """What the trials of one campaign measure in a world."""

    def __init__(self, curves: Curves, campaign: int, world: World) -> None:
        self.curves, self.campaign, self.world = curves, campaign, world

    def truth(self, arm: str, config: dict[str, Any]) -> float:
        """The expected test accuracy of a configuration."""
        return float(self.curves.mean(*self._where(arm, config))) + self._gain(arm)

    def value(self, spec: TrialSpec, epoch: int) -> float:
        lr, fraction = self._where(spec.arm, spec.config)
        draw = self._draw(spec)
        point = self.curves.near(lr, fraction, draw)
        if draw.random() < point.diverged:
            return math.nan
        if spec.phase == "confirm":
            mean = float(self.curves.mean(lr, fraction))
            luck = float(draw.choice(list(point.test_residuals)))
            return mean + self._gain(spec.arm) + self.world.noise * luck
        mean = self.curves.mean(lr, fraction, "values")[epoch - 1]
        luck = point.residuals[draw.randrange(len(point.residuals))][epoch - 1]
        learned = min(1.0, max(0.0, (mean - 100 / CLASSES[self.curves.name]) / 20))
        return float(mean + self.world.noise * luck + self._gain(spec.arm) * learned)

    def hits(self, spec: TrialSpec) -> str | None:
        """Those of a recorded training near it, so that images scatter as they really do."""
        draw = self._draw(spec)
        point = self.curves.near(*self._where(spec.arm, spec.config), draw)
        return draw.choice(point.hits) if point.hits else None

    def seconds_per_image(self, study: str) -> float:
        return 1e-3

    def _where(self, arm: str, config: dict[str, Any]) -> tuple[float, float]:
        if arm == "control":
            return config["lr"], 0.0
        fraction = config["lambda_over_n"] if self.world.recorded else 0.0
        return config["lr"] / self.world.shift, fraction

    def _gain(self, arm: str) -> float:
        return self.world.effect if arm == "pc" else 0.0

    def _draw(self, spec: TrialSpec) -> random.Random:
        config = spec.config
        what = (config["seed"], config["split"], config["lr"], config["lambda_over_n"])
        return random.Random(repr((self.campaign, spec.arm, what)))


def plan_of(
    curves: Curves, seed: int, trials: int, lr: Space, fractions: Space, **changes: Any
) -> Plan:
    """A plan of one study with the recorded world's sizes and the shipped defaults."""

    def arm(name: str) -> ArmPlan:
        own = {"lambda_over_n": fractions} if name == "pc" else {}
        return ArmPlan(
            name=name, variant="euclidean", parameter="lambda_over_n" if own else None,
            trials=trials, space={"lr": lr} | own, fixed={},
        )  # fmt: skip

    study = StudyPlan(
        id="q/n", dataset="q", backbone="n", num_classes=CLASSES[curves.name],
        images=IMAGES[curves.name], split_hash="0" * 16, arms=(arm("control"), arm("pc")),
    )  # fmt: skip
    values: dict[str, Any] = {
        "name": "q", "metric": "top1", "studies": (study,), "max_epochs": curves.epochs,
        "grace_epochs": 2, "reduction_factor": 3, "sampler": "tpe",
        "startup_trials": default_startup(trials), "seed": seed, "finalist_configs": 2,
        "finalist_repeats": 4, "confirm_seeds": confirm_seeds(seed, 5),
        "confirm_epochs": curves.epochs, "rung_rule": "noise", "full_trainings": 4,
        "widen": "auto",
    }  # fmt: skip
    return Plan(**values | changes)


@dataclass(frozen=True)
class Outcome:
    """One replayed campaign: its verdict, its gain's interval, and what its search cost and found.

    `regret` is how far, in points, an arm's choice lies below the best of its ranges.
    """

    word: str
    mean: float
    low: float
    high: float
    regret: dict[str, float]
    epochs: float
    full: float


def campaign(world: Replayed, plan: Plan, best: dict[str, float]) -> Outcome:
    """Run a campaign to its end; `best` is the oracle's accuracy of each arm."""
    cluster = ClusterModel(nodes=1, slots_per_node=2, always=1)
    state = simulate(plan, cluster, world, max_concurrent=2).state
    (study,) = plan.studies
    gain = gain_of(state, study, "pc")
    arms = {name: state.arms[study.id, name] for name in ("control", "pc")}
    told = gain is not None and gain.low is not None and gain.high is not None
    return Outcome(
        word=verdict_on(state, study, "pc", gain).word,
        mean=gain.mean if gain else math.nan,
        low=gain.low if gain and told and gain.low is not None else -math.inf,
        high=gain.high if gain and told and gain.high is not None else math.inf,
        regret={
            name: best[name] - world.truth(name, arm.choice.config)
            for name, arm in arms.items()
            if arm.choice
        },
        epochs=sum(t.last_epoch for arm in arms.values() for t in arm.trials["search"]) / 2,
        full=sum(arm.complete for arm in arms.values()) / 2,
    )


def oracle(world: Replayed, lr: Space, fractions: Space) -> dict[str, float]:
    """The best expected test accuracy of each arm over a fine grid of its ranges."""
    rates = np.geomspace(float(lr.low or 0), float(lr.high or 0), 60)
    parts = np.linspace(float(fractions.low or 0), float(fractions.high or 0), 15)
    return {
        "control": max(world.truth("control", {"lr": rate}) for rate in rates),
        "pc": max(
            world.truth("pc", {"lr": rate, "lambda_over_n": part})
            for rate in rates
            for part in parts
        ),
    }
