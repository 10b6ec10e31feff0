"""Class weights: from what a recipe states to a number for each class.

They are scaled so that their mean over the images of an epoch is 1. So a learning rate means the
same with and without them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pcsearch.data.classes import name_finder
from pcsearch.data.dataset import Int64Array
from pcsearch.errors import UserError, did_you_mean
from pcsearch.training.config import TrainConfig


def with_class_weights(
    settings: TrainConfig, labels: Int64Array, class_names: Sequence[str]
) -> TrainConfig:
    """`settings` with the number of each class as `class_weights`, unless there are none.

    "balanced" is 1 / n_c for a class with n_c training images. Classes that are not named have 1. A
    name that is no class of this dataset is one of another dataset (see `check_class_weights`).

    Args:
        settings: with `class_weights` as a recipe states them.
        labels: [m] of the training images of this trial.
        class_names: N names; label i means class_names[i].
    """
    stated = settings.class_weights
    if stated == "none":
        return settings
    counts = np.bincount(labels, minlength=len(class_names)).astype(np.float64)
    weights = np.ones(len(class_names))
    if stated == "balanced":
        weights = 1 / np.maximum(counts, 1)
    else:
        find = name_finder(class_names)
        for name, weight in dict(stated).items():  # type: ignore[arg-type]
            weights[find(name)] = weight
    shown = np.sign(counts) if settings.sampling == "balanced" else counts
    weights /= np.average(weights, weights=shown)
    return replace(settings, class_weights=tuple(weights.tolist()))


def numbers_of(settings: TrainConfig) -> tuple[float, ...]:
    """The number of each class.

    Raises:
        UserError: `class_weights` are still stated by names, or as "balanced".
    """
    weights = settings.class_weights
    numbers = tuple(one for one in weights if isinstance(one, float))
    if len(numbers) < len(weights):
        raise UserError(
            "class_weights are not yet numbers: make them from the training labels with "
            "pcsearch.training.class_weights.with_class_weights"
        )
    return numbers


def check_class_weights(
    stated: Mapping[str, float], class_names: Mapping[str, Sequence[str]], key: str
) -> None:
    """Raise UserError unless each name means one class, in at least one of the datasets.

    Args:
        stated: weights by name.
        class_names: of each dataset, by its id.
        key: the recipe's key, for messages.
    """
    finders = {dataset: name_finder(names) for dataset, names in class_names.items()}
    first: dict[tuple[str, int], str] = {}
    for name in stated:
        found = {dataset: find(name) for dataset, find in finders.items()}
        if not any(found.values()):
            known = [one for names in class_names.values() for one in names]
            hint = did_you_mean(name, known)
            listed = " or ".join(class_names)
            raise UserError(
                f'{key} names "{name}", which is no class of {listed}'
                f"{hint or f' ({len(known)} classes, {known[0]!r} to {known[-1]!r})'}"
            )
        for dataset, positions in found.items():
            names = class_names[dataset]
            if len(positions) > 1:
                meant = " or ".join(repr(names[one]) for one in positions[:5])
                raise UserError(f'{key} names "{name}", which could mean {meant} of {dataset}')
            for one in positions:
                if (other := first.setdefault((dataset, one), name)) != name:
                    raise UserError(
                        f'{key} names "{other}" and "{name}", which are the same class of {dataset}'
                    )
