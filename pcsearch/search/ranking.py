"""Which of two trained configurations is better."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from pcsearch.search.trial import Config, Trial

Rank = tuple[float, float, float, int]


def rank(values: Sequence[float], config: Config, trial: Trial) -> Rank:
    """What to sort by, best first: more values, a higher mean of them, a smaller λ, asked earlier.

    Args:
        values: The last epoch's metric, in percent, on each split.
        config: The configuration that they are of.
        trial: The search trial that it comes from.
    """
    strength = float(config.get("lambda") or 0.0)
    score = round(fmean(values), 9)  # equal counts of hits may differ in the last bit of a mean
    return (-len(values), -score, strength, trial.spec.index)


def last_value(trial: Trial) -> float:
    """The metric of a trial's last epoch, in percent (never the best epoch's).

    Raises:
        ValueError: it has none.
    """
    if trial.last_value is None:
        raise ValueError(f"{trial.spec.trial} has no validation value")
    return trial.last_value
