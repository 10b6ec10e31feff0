"""A campaign with an arm, a metric and an augmentation that pcsearch does not have.

Each is one row of its registry (the arm's penalty is a second). Rows come before recipes are read.
Prints what the campaign made of them as JSON, for `test_registries.py`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from torch import Tensor

from pcsearch.arms import ARMS, Arm, Parameter
from pcsearch.data.augmentations import AUGMENTATIONS, Augmentation
from pcsearch.losses import VARIANTS
from pcsearch.training.config import Limits
from pcsearch.training.metrics import METRICS, HitMean, Metric

calls = {"penalty": 0, "images": 0}


def shrink(logits: Tensor, targets: Tensor) -> Tensor:
    """The mean square of the logits."""
    calls["penalty"] += 1
    return (logits**2).mean()


def darken(pixels: Tensor, factors: Tensor) -> None:
    calls["images"] += len(pixels)
    pixels.mul_(factors.float().view(-1, 1, 1, 1))


VARIANTS["shrink"] = shrink
ARMS["small"] = Arm(
    "small",
    "small logits",
    "#123456",
    (Parameter("lambda", "λ", (0.001, 0.1), True, Limits(high=5)),),
    "shrink",
)
METRICS["late_top1"] = Metric(
    "late_top1",
    "top-1 in which the last class counts double",
    "late top-1",
    lambda p: 100.0 * float((double(p.labels) * p.hits).mean()),
    HitMean(lambda classes, majority: 100 / classes, lambda labels: double(labels), True),
)
AUGMENTATIONS["darkening"] = Augmentation(
    "darkening",
    stream=77,
    columns=1,
    draw=lambda uniform, settings, side: 1 - settings[0] * uniform[:, 0],
    apply=darken,
    on="pixels",
)


def double(labels: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    weights = np.where(labels == labels.max(), 2.0, 1.0)
    return weights / weights.mean()


def main() -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
    from verdicts import train_here  # type: ignore[import-not-found]

    from pcsearch.recipe import load_recipe
    from pcsearch.reporting.figures import search_plot
    from pcsearch.reporting.notes import notes
    from pcsearch.reporting.summary import summarise

    recipe = load_recipe("quickstart", sys.argv[1:])
    state = train_here(recipe)
    summary = summarise(state)
    plot = search_plot(state, state.plan.studies[0])
    told = {
        "recipe": recipe.to_mapping(),
        "summary": summary.to_json(),
        "notes": list(notes(summary, state)),
        "trials": [
            {"config": trial.spec.config, "arm": trial.spec.arm, "test": trial.test}
            for trial in state.trials.values()
        ],
        "figure": plot.svg if plot else "",
        "calls": calls,
    }
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
