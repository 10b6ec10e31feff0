"""Nobody is judged, and no training ends, before every stage of it has begun."""

from __future__ import annotations

from typing import Any

import pytest

from pcsearch.errors import UserError
from pcsearch.recipe import Recipe, load_recipe


def recipe(grace_epochs: int, confirm_epochs: int | None = None, **sections: Any) -> Recipe:
    return load_recipe(
        {
            "datasets": ["digits"],
            "backbones": ["resnet50", "vgg16"],
            "asha": {"max_epochs": 27, "grace_epochs": grace_epochs},
            "confirm": {"epochs": confirm_epochs},
            **sections,
        }
    )


@pytest.mark.parametrize(
    ("sections", "epochs"),
    [
        ({"train": {"head_only_epochs": 2, "warmup_epochs": 1}}, 3),
        ({"train": {"warmup_epochs": 1}, "search": {"head_only_epochs": [0, 4]}}, 5),
        # what is searched replaces what `train` says
        ({"train": {"head_only_epochs": 9}, "search": {"head_only_epochs": 1}}, 1),
        (
            {
                "train": {"head_only_epochs": 9, "warmup_epochs": 1},
                "search": {
                    "sampler": "grid",
                    "grid": {"head_only_epochs": [0, 2], "lr": [0.1], "lambda_over_n": [0.1]},
                },
            },
            3,
        ),
        # two stages of two backbones do not add up
        (
            {
                "train": {
                    "per_backbone": {
                        "resnet50": {"head_only_epochs": 3},
                        "vgg16": {"warmup_epochs": 2},
                    }
                }
            },
            3,
        ),
        (
            {
                "train": {"head_only_epochs": 2},
                "search": {"per_backbone": {"vgg16": {"head_only_epochs": {"choices": [1, 6]}}}},
            },
            6,
        ),
    ],
)
def test_first_judgement_and_last_epoch_lie_behind_both_stages(
    sections: dict[str, Any], epochs: int
) -> None:
    assert recipe(epochs + 1, epochs + 1, **sections).asha.grace_epochs == epochs + 1
    with pytest.raises(UserError, match=f"asha.grace_epochs is {epochs}, but must exceed"):
        recipe(epochs, **sections)
    with pytest.raises(UserError, match=f"confirm.epochs is {epochs}, but must exceed"):
        recipe(epochs + 1, epochs, **sections)
