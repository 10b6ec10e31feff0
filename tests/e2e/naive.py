"""What a campaign must have decided and computed, read naively from its journal.

Nothing here uses the package: rules are written down once more, the slow and obvious way.
"""

from __future__ import annotations

import base64
import math
from collections import defaultdict
from statistics import variance
from typing import Any

import numpy as np
from scipy import integrate, stats

Row = dict[str, Any]
OWN = ("seed", "split", "lambda", "lambda_over_n")


def shared(config: Row) -> Row:
    """The hyperparameters that arms share, without seeds."""
    return {key: value for key, value in config.items() if key not in OWN}


def hyperparameters(config: Row) -> Row:
    return {key: value for key, value in config.items() if key not in ("seed", "split")}


def pool(rows: list[Row], arm: str, configs: int) -> list[Row]:
    """The configurations that an arm is to retrain: its own best, then those of the others.

    `rows` are a study's trials. An arm adopts what it shares, and keeps the strength of its best.
    """
    names = dict.fromkeys([arm, *(row["arm"] for row in rows)])
    ranked = {name: best(rows, name) for name in names}
    own = {key: ranked[arm][0]["config"][key] for key in ("lambda", "lambda_over_n")}
    found: list[Row] = []
    for name, ordered in ranked.items():
        for row in ordered[:configs]:
            config = hyperparameters(row["config"])
            adopted = config if name == arm else {**config, **own}
            if name == arm or shared(adopted) not in map(shared, found):
                found.append(adopted)
    return found


def best(rows: list[Row], arm: str) -> list[Row]:
    """An arm's fully trained search trials, by their last value; of equals the smaller λ."""
    full = [r for r in rows if (r["arm"], r["phase"], r["state"]) == (arm, "search", "COMPLETE")]
    return sorted(full, key=lambda row: (-row["epochs"][-1][1], row["config"]["lambda"]))


def scores(rows: list[Row], arm: str, config: Row) -> list[float]:
    """Last values of an arm's retrainings of a configuration, by split."""
    mine = [r for r in rows if r["arm"] == arm and hyperparameters(r["config"]) == config]
    retrained = [row for row in mine if row["phase"] == "finalists"]
    return [r["epochs"][-1][1] for r in sorted(retrained, key=lambda r: r["config"]["split"])]


def hits(event: Row, images: int) -> Any:
    """[images] of 1 and 0: which test images an epoch's event says were named right."""
    bits = np.unpackbits(np.frombuffer(base64.b64decode(event["hits"]), dtype=np.uint8))
    assert len(bits) - 8 < images <= len(bits)
    return bits[:images].astype(float)


def parts(treated: dict[int, Row], control: dict[int, Row], images: int) -> dict[str, float]:
    """Squared standard errors of a gain by seeds and by test images, in points².

    Two-way analysis of variance of the differences of hits; `treated` and `control` are the last
    epochs' events of confirm trainings, by seed.
    """
    differences = [
        treated[seed]["test"]["top1"] - control[seed]["test"]["top1"] for seed in treated
    ]
    table = np.array([hits(treated[s], images) - hits(control[s], images) for s in treated]) * 100
    seeds, mean = len(treated), table.mean()
    rest = sum(
        (table[s, i] - table[s].mean() - table[:, i].mean() + mean) ** 2
        for s in range(seeds)
        for i in range(images)
    ) / ((seeds - 1) * (images - 1))
    between = seeds * sum((table[:, i].mean() - mean) ** 2 for i in range(images)) / (images - 1)
    return {
        "seeds": max(variance(differences) / seeds, rest / (seeds * images)),
        "images": max(0.0, (between - rest) / (seeds * images)),
    }


def interval(
    mean: float, parts: dict[str, tuple[float, int]], alpha: float
) -> tuple[float, float, float]:
    """Ends and p-value of a mean whose squared standard errors have degrees of freedom."""
    total = sum(square for square, _ in parts.values())
    degrees = total**2 / sum(square**2 / free for square, free in parts.values() if square)
    error = math.sqrt(total)
    low, high = stats.t.interval(1 - alpha, degrees, loc=mean, scale=error)
    return low, high, 2 * stats.t.sf(abs(mean) / error, degrees)


def chosen_variance(finalists: list[list[list[float]]]) -> float:
    """What other repeats could have chosen, of at most two candidates an arm: by quadrature.

    Given the scores, the true difference d of two candidates is normal; other repeats choose the
    first with probability Φ(d / their scatter), and the variance of the chosen one is d² p (1 − p).
    """
    pairs = [np.array(arm) for arm in finalists if len(arm) == 2]
    if not pairs:
        return 0.0
    repeats = pairs[0].shape[1]
    residual = sum(float(((x[0] - x[1]) - (x[0] - x[1]).mean()) @ (x[0] - x[1])) / 2 for x in pairs)
    noise = residual / (len(pairs) * (repeats - 1)) / repeats
    total = 0.0
    for x in pairs:
        apart = float(x[0].mean() - x[1].mean())
        spread = apart**2 / 2 - noise
        if spread <= 0 or noise == 0:
            continue
        shrink = spread / (spread + noise)
        scale = math.sqrt(2 * shrink * noise)

        def varies(d: float, apart: float = shrink * apart, scale: float = scale) -> float:
            p = stats.norm.cdf(d / math.sqrt(2 * noise))
            return float(stats.norm.pdf(d, apart, scale) * d**2 * p * (1 - p))

        ends = shrink * apart - 8 * scale, shrink * apart + 8 * scale
        total += integrate.quad(varies, *ends, points=[0.0] if ends[0] < 0 < ends[1] else None)[0]
    return total


class Rungs:
    """The rungs of an arm with the rule for noisy values, one value after the other."""

    def __init__(self, at: tuple[int, ...], eta: int, images: int, classes: int) -> None:
        self.at, self.eta, self.images, self.chance = at, eta, images, 100 / classes
        self.values: dict[int, list[float]] = defaultdict(list)

    def error(self, accuracy: float) -> float:
        return math.sqrt(accuracy * (100 - accuracy) / self.images)

    def stops(self, epoch: int, value: float) -> bool:
        """Whether a trial with this value is stopped there; the value is kept."""
        if epoch not in self.at:
            return False
        values = self.values[epoch]
        values.append(value)
        places = max(1, len(values) // self.eta)
        above = sorted((other for other in values if other > value), reverse=True)
        if len(above) < places:
            return False
        if len(above) >= 2 * len(values) / 3:
            return True
        cut = above[places - 1]
        as_good = cut - value < self.error(cut)
        return not (as_good or cut <= self.chance + 2 * self.error(self.chance))
