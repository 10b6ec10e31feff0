"""How much of the cluster a trial takes, and so how many run at once."""

from __future__ import annotations

from dataclasses import dataclass

from pcsearch.cluster.capacity import Capacity
from pcsearch.errors import UserError
from pcsearch.recipe.sections import ResourcesSection


@dataclass(frozen=True)
class Sizing:
    """What one trial is given, and the number of trials at once."""

    cpus_per_trial: float
    gpus_per_trial: float
    width: int


def one_a_cpu(resources: ResourcesSection) -> bool:
    """Whether a machine's every CPU will have a trial of its own, as far as the recipe says."""
    return (
        resources.gpus_per_trial == 0
        and resources.cpus_per_trial <= 1
        and resources.max_concurrent == "auto"
    )


def gpus_of_trial(resources: ResourcesSection, gpus: float) -> float:
    """The GPUs that a trial is given where there are `gpus` in all: `auto` is one, if there is."""
    wanted = resources.gpus_per_trial
    return float(min(1, int(gpus))) if wanted == "auto" else wanted


def size_trials(resources: ResourcesSection, capacity: Capacity) -> Sizing:
    """Fit a recipe's demands to a cluster.

    Raises:
        UserError: not a single trial fits on any of its nodes.
    """
    cpus, gpus = resources.cpus_per_trial, gpus_of_trial(resources, capacity.gpus)
    most = capacity.fits(cpus, gpus)
    if most < 1:
        raise UserError(
            f"resources: a trial needs {cpus:g} CPUs and {gpus:g} GPUs on one machine, but there "
            f"are {capacity.cpus:g} CPUs and {capacity.gpus:g} GPUs in all, and no machine has "
            "that many; lower resources.cpus_per_trial or resources.gpus_per_trial (0 trains on "
            "the CPU), or join a larger cluster with --address"
        )
    limit = resources.max_concurrent
    return Sizing(cpus, gpus, most if limit == "auto" else min(most, limit))
