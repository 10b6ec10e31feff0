"""Every option that decides what Optuna's TPE samples, by value.

A default that another Optuna changes would otherwise change what a resumed campaign asks for, and
what one recipe means. The values are those of Optuna 5.0, which are TPE's own as published.
"""

from __future__ import annotations

import math
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_FULL_WEIGHTS = 25
"""The latest trials, all of which weigh 1; older ones weigh less, the older the less."""


def _good_trials(finished: int) -> int:
    """How many of the finished trials count as good: a tenth, at most 25."""
    return min(math.ceil(0.1 * finished), 25)


def trial_weights(trials: int) -> np.ndarray:
    """Weights [trials] of trials in the order in which they were asked: a ramp, then ones."""
    import numpy as np

    if trials <= _FULL_WEIGHTS:
        return np.ones(trials)
    ramp = np.linspace(1.0 / trials, 1.0, num=trials - _FULL_WEIGHTS)
    return np.concatenate([ramp, np.ones(_FULL_WEIGHTS)])


def tpe_options() -> dict[str, Any]:
    """The arguments of `TPESampler` but its seed. Optuna has none for the prior, which it uses."""
    return {
        "n_startup_trials": 1,  # random trials are asked of the random sampler
        "n_ei_candidates": 24,
        "multivariate": True,
        "group": False,  # every trial of an arm has all its dimensions
        "constant_liar": True,  # keeps away from what runs now
        "prior_weight": 1.0,
        "consider_magic_clip": True,
        "consider_endpoints": False,
        "gamma": _good_trials,
        "weights": trial_weights,
    }


def sampler_version(sampler: str) -> str | None:
    """The library that proposes a recipe's trials, with its version; a grid needs none."""
    return None if sampler == "grid" else f"optuna {metadata.version('optuna')}"
