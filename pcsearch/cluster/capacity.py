"""What a cluster can run at once, counted node by node: a trial never spans two."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Node:
    """CPUs and GPUs of one machine."""

    cpus: float
    gpus: float

    def fits(self, cpus: float, gpus: float) -> int:
        """Trials of that size that fit on it."""
        fits = _times(cpus, self.cpus)
        if gpus >= 1:
            fits = min(fits, _times(gpus, self.gpus))
        elif gpus > 0:  # Ray gives no trial parts of two GPUs
            whole = int(self.gpus)
            fits = min(fits, whole * _times(gpus, 1) + _times(gpus, self.gpus - whole))
        return fits


def _times(part: float, whole: float) -> int:
    return int(whole / part + 1e-9)  # 0.3 fits three times in 0.9


@dataclass(frozen=True)
class Capacity:
    """The nodes there are, and those that an autoscaler may add to them.

    Attributes:
        nodes: Machines that do not come and go.
        addable: Machines that may come, each as often as its type allows.
        most_added: How many of these there may be at once.
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

    def fits(self, cpus: float, gpus: float) -> int:
        """Trials of that size that fit at once on the cluster at its largest."""
        added = sorted((node.fits(cpus, gpus) for node in self.addable), reverse=True)
        return sum(node.fits(cpus, gpus) for node in self.nodes) + sum(added[: self.most_added])
