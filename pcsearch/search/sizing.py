"""How much of the cluster a trial takes, and so how many run at once."""

from __future__ import annotations

from dataclasses import dataclass

from pcsearch.errors import UserError
from pcsearch.recipe.sections import ResourcesSection


@dataclass(frozen=True)
class Sizing:
    """What one trial is given, and the number of trials at once."""

    cpus_per_trial: float
    gpus_per_trial: float
    width: int


def size_trials(resources: ResourcesSection, cpus: float, gpus: float) -> Sizing:
    """Fit a recipe's demands to a cluster with `cpus` and `gpus`.

    Raises:
        UserError: not a single trial fits.
    """
    wanted = resources.gpus_per_trial
    gpus_per_trial = float(min(1, int(gpus))) if wanted == "auto" else wanted
    fits = [cpus / resources.cpus_per_trial]
    if gpus_per_trial > 0:
        fits.append(gpus / gpus_per_trial)
    most = int(min(fits) + 1e-9)  # 0.3 of a GPU fits three times in 0.9
    if most < 1:
        raise UserError(
            f"resources: a trial needs {resources.cpus_per_trial:g} CPUs and {gpus_per_trial:g} "
            f"GPUs, but there are {cpus:g} CPUs and {gpus:g} GPUs; lower resources.cpus_per_trial "
            "or resources.gpus_per_trial (0 trains on the CPU), or join a larger cluster with "
            "--address"
        )
    limit = resources.max_concurrent
    return Sizing(
        resources.cpus_per_trial, gpus_per_trial, most if limit == "auto" else min(most, limit)
    )
