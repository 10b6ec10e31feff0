"""The CPUs and GPUs of a cluster's nodes, and how many trials they run at once."""

from __future__ import annotations

from dataclasses import dataclass

from pcsearch.errors import UserError
from pcsearch.recipe.sections import ResourcesSection


@dataclass(frozen=True)
class Node:
    """CPUs and GPUs of one machine."""

    cpus: float
    gpus: float

    def max_trials(self, cpus: float, gpus: float) -> int:
        """The number of trials of that size that fit on the node."""
        fits = _times(cpus, self.cpus)
        if gpus >= 1:
            fits = min(fits, _times(gpus, self.gpus))
        elif gpus > 0:  # Ray does not split a trial over parts of two GPUs
            whole = int(self.gpus)
            fits = min(fits, whole * _times(gpus, 1) + _times(gpus, self.gpus - whole))
        return fits


def _times(part: float, whole: float) -> int:
    return int(whole / part + 1e-9)  # 0.3 fits three times in 0.9


@dataclass(frozen=True)
class Capacity:
    """The permanent nodes, and those that an autoscaler may add.

    Attributes:
        nodes: Permanent machines.
        addable: Machines that may be added, each as often as its type allows.
        most_added: The most added machines at once.
    """

    nodes: tuple[Node, ...]
    addable: tuple[Node, ...] = ()
    most_added: int = 0

    @property
    def cpus(self) -> float:
        """CPUs of the cluster at its largest."""
        by_cpus = sorted(self.addable, key=lambda node: -node.cpus)
        return sum(node.cpus for node in (*self.nodes, *by_cpus[: self.most_added]))

    @property
    def gpus(self) -> float:
        """GPUs of the cluster at its largest."""
        by_gpus = sorted(self.addable, key=lambda node: -node.gpus)
        return sum(node.gpus for node in (*self.nodes, *by_gpus[: self.most_added]))

    def max_trials(self, cpus: float, gpus: float) -> int:
        """The number of trials of that size at once on the cluster at its largest."""
        added = sorted((node.max_trials(cpus, gpus) for node in self.addable), reverse=True)
        return sum(node.max_trials(cpus, gpus) for node in self.nodes) + sum(
            added[: self.most_added]
        )


@dataclass(frozen=True)
class Sizing:
    """CPUs and GPUs of one trial, and the number of trials at once."""

    cpus_per_trial: float
    gpus_per_trial: float
    max_concurrent: int


def one_a_cpu(resources: ResourcesSection) -> bool:
    """Whether the recipe gives every CPU of a machine its own trial."""
    return (
        resources.gpus_per_trial == 0
        and resources.cpus_per_trial <= 1
        and resources.max_concurrent == "auto"
    )


def gpus_of_trial(resources: ResourcesSection, gpus: float) -> float:
    """The GPUs per trial on a cluster with `gpus` in all: `auto` is one, if there is one."""
    wanted = resources.gpus_per_trial
    return float(min(1, int(gpus))) if wanted == "auto" else wanted


def size_trials(resources: ResourcesSection, capacity: Capacity) -> Sizing:
    """The trial size and the number of trials at once on a cluster.

    Raises:
        UserError: no node has room for a trial.
    """
    cpus, gpus = resources.cpus_per_trial, gpus_of_trial(resources, capacity.gpus)
    most = capacity.max_trials(cpus, gpus)
    if most < 1:
        raise UserError(
            f"resources: a trial needs {cpus:g} CPUs and {gpus:g} GPUs on one machine, but none "
            f"has that many. In all, there are {capacity.cpus:g} CPUs and {capacity.gpus:g} GPUs. "
            "Lower resources.cpus_per_trial or resources.gpus_per_trial (0 trains on the CPU), or "
            "join a larger cluster with --address"
        )
    limit = resources.max_concurrent
    return Sizing(cpus, gpus, most if limit == "auto" else min(most, limit))
