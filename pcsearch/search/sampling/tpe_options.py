"""Fixed values for every option that decides what Optuna's TPE samples.

Another Optuna version may change a default. That would change what a resumed campaign asks for, and
what a recipe means. The values are those of Optuna 5.0, which are TPE's as published.
"""

from __future__ import annotations

import math
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_FULL_WEIGHTS = 25
"""The number of latest trials, which all weigh 1. Older trials weigh less with age."""


def _good_trials(finished: int) -> int:
    """How many of the finished trials count as good: a tenth, at most 25."""
    return min(math.ceil(0.1 * finished), 25)


def trial_weights(trials: int) -> np.ndarray:
    """Weights [trials], in the order of asking: a ramp, then ones."""
    import numpy as np

    if trials <= _FULL_WEIGHTS:
        return np.ones(trials)
    ramp = np.linspace(1.0 / trials, 1.0, num=trials - _FULL_WEIGHTS)
    return np.concatenate([ramp, np.ones(_FULL_WEIGHTS)])


def tpe_options() -> dict[str, Any]:
    """The arguments of `TPESampler` except its seed. Optuna always uses the prior."""
    return {
        "n_startup_trials": 1,  # the random sampler draws random trials
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
    """The library that proposes a recipe's trials, with its version; None for a grid."""
    return None if sampler == "grid" else f"optuna {metadata.version('optuna')}"
