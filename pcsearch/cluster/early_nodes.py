"""Nodes for a campaign's first trials, asked for while its images are still being decoded."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from pcsearch.cluster.capacity import Capacity
from pcsearch.recipe.schema import Recipe
from pcsearch.search.sizing import size_trials

HELD_SECONDS = 300.0
"""However long images take to decode: nodes cost money while they wait."""


@contextlib.contextmanager
def early_nodes(recipe: Recipe, capacity: Capacity) -> Iterator[None]:
    """Reserve room for a recipe's first trials, so that an autoscaler starts the nodes for them.

    For no more than the search surely asks for at once, and only where the cluster can grow. Given
    back at the end, for the trials themselves, after `HELD_SECONDS` at the latest, and by Ray
    should this process die. A node that has come by then waits for them as long as any idle one.

    Raises:
        UserError: no trial of the recipe fits on any node.
    """
    sizing = size_trials(recipe.resources, capacity)
    from ray.util.placement_group import placement_group, remove_placement_group

    held = []
    if capacity.addable and capacity.most_added:
        bundle = {"CPU": sizing.cpus_per_trial}
        bundle |= {"GPU": sizing.gpus_per_trial} if sizing.gpus_per_trial else {}
        studies = len(recipe.datasets) * len(recipe.backbones)
        trials = studies * len(recipe.search.arms) * recipe.search.trials
        held = [placement_group([bundle]) for _ in range(min(sizing.width, trials))]

    def give_back() -> None:
        while held:
            remove_placement_group(held.pop())

    at_the_latest = threading.Timer(HELD_SECONDS, give_back)
    at_the_latest.daemon = True
    at_the_latest.start()
    try:
        yield
    finally:
        at_the_latest.cancel()
        give_back()
