"""How many trials fit, by hand."""

from __future__ import annotations

import pytest

from pcsearch.cluster.session.capacity import Capacity, Node, size_trials
from pcsearch.errors import UserError
from pcsearch.recipe.sections import ResourcesSection


@pytest.mark.parametrize(
    ("resources", "cpus", "gpus", "gpus_per_trial", "max_concurrent"),
    [
        ({}, 2, 0, 0, 2),
        ({"cpus_per_trial": 2}, 7, 0, 0, 3),
        ({"cpus_per_trial": 0.5}, 2, 0, 0, 4),
        ({"gpus_per_trial": 1}, 16, 4, 1, 4),
        ({"gpus_per_trial": 0.3}, 16, 0.9, 0.3, 3),
        ({"gpus_per_trial": 0.3}, 64, 8, 0.3, 24),  # not 26: no trial has parts of two GPUs
        ({"gpus_per_trial": 0.25}, 64, 2.5, 0.25, 10),
        ({"gpus_per_trial": 0.5, "cpus_per_trial": 4}, 16, 8, 0.5, 4),
        ({"gpus_per_trial": "auto"}, 16, 2, 1, 2),
        ({"gpus_per_trial": "auto"}, 2, 0, 0, 2),
        ({"max_concurrent": 1}, 2, 0, 0, 1),
        ({"max_concurrent": 9}, 2, 0, 0, 2),
    ],
)
def test_trials_that_fit(
    resources: dict, cpus: float, gpus: float, gpus_per_trial: float, max_concurrent: int
) -> None:
    sizing = size_trials(ResourcesSection(**resources), Capacity((Node(cpus, gpus),)))
    assert (sizing.gpus_per_trial, sizing.max_concurrent) == (gpus_per_trial, max_concurrent)


def test_more_than_there_is_is_refused_with_both_numbers() -> None:
    with pytest.raises(UserError, match=r"1 GPUs on one .* In all, there are 2 CPUs and 0 GPUs"):
        size_trials(ResourcesSection(gpus_per_trial=1), Capacity((Node(2, 0),)))


def test_a_trial_never_spans_two_machines() -> None:
    two = Capacity((Node(4, 1), Node(4, 1)))
    assert (
        size_trials(ResourcesSection(cpus_per_trial=3, gpus_per_trial=1), two).max_concurrent == 2
    )
    with pytest.raises(UserError, match="on one machine"):
        size_trials(ResourcesSection(cpus_per_trial=6), two)


def test_machines_that_may_be_added_count_up_to_their_limit() -> None:
    grows = Capacity((Node(0, 0),), (Node(4, 1),) * 5 + (Node(96, 8),) * 2, most_added=3)
    assert size_trials(ResourcesSection(gpus_per_trial=1), grows).max_concurrent == 8 + 8 + 1
    assert size_trials(ResourcesSection(gpus_per_trial="auto"), grows).gpus_per_trial == 1
