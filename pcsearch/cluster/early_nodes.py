"""Nodes for a campaign's first trials, asked for while its images are still being decoded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pcsearch.cluster.capacity import Capacity
from pcsearch.recipe.schema import Recipe
from pcsearch.search.sizing import size_trials


@contextlib.contextmanager
def early_nodes(recipe: Recipe, capacity: Capacity) -> Iterator[None]:
    """Reserve room for a recipe's first trials, so that an autoscaler starts the nodes for them.

    For no more than the search surely asks for at once, and only where the cluster can grow. Given
    back at the end, for the trials themselves, and by Ray should this process die. A node that has
    come by then waits for them as long as any idle node does.

    Raises:
        UserError: no trial of the recipe fits on any node.
    """
    sizing = size_trials(recipe.resources, capacity)
    held = []
    if capacity.addable and capacity.most_added:
        from ray.util.placement_group import placement_group, remove_placement_group

        bundle = {"CPU": sizing.cpus_per_trial}
        bundle |= {"GPU": sizing.gpus_per_trial} if sizing.gpus_per_trial else {}
        studies = len(recipe.datasets) * len(recipe.backbones)
        trials = studies * len(recipe.search.arms) * recipe.search.trials
        held = [placement_group([bundle]) for _ in range(min(sizing.width, trials))]
    try:
        yield
    finally:
        for group in held:
            remove_placement_group(group)
