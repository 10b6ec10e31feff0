"""A network of the user's own that sleeps rather than learns, and says where it does.

Its trials take as long as they are told to, whatever else the machine does.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

NAME = "tests.cluster.sleeper:network"


class Sleeper(nn.Module):
    """Each training step takes `seconds`; the first one leaves a mark, other than in the driver."""

    def __init__(self, num_classes: int, seconds: float, marks: str) -> None:
        super().__init__()
        self.head = nn.Linear(3, num_classes)
        self._seconds, self._marks, self._marked = seconds, Path(marks), False
        self._node = os.environ.get("RAY_OVERRIDE_NODE_ID_FOR_TESTING")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training and self._node is not None:
            time.sleep(self._seconds)
            if not self._marked:
                self._mark()
        logits: torch.Tensor = self.head(images.mean((2, 3)))
        return logits

    def _mark(self) -> None:
        now = time.time()
        file = self._marks / f"{now}-{os.getpid()}.json"
        file.with_suffix(".part").write_text(
            json.dumps(
                {
                    "at": now,
                    "node": self._node,
                    "pid": os.getpid(),
                    "classes": self.head.out_features,
                }
            )
        )
        file.with_suffix(".part").rename(file)
        self._marked = True


def network(num_classes: int, seconds: float, marks: str, slow: int = 0) -> nn.Module:
    """With `slow` classes, steps take five times as long."""
    return Sleeper(num_classes, 5 * seconds if num_classes == slow else seconds, marks)


def recipe(marks: Path, step_seconds: float, slow: int = 0, **sections: Any) -> dict[str, Any]:
    """Overrides of the recipe `quickstart` for trials of it: 15 steps an epoch, 18 in confirm."""
    options = json.dumps({NAME: {"seconds": step_seconds, "marks": str(marks), "slow": slow}})
    small = {"data": {"classes": [1, 7, 8, 9]}, "finalists": {"configs": 0, "repeats": 0}}
    return {
        "datasets": ["digits"],
        "backbones": [NAME],
        "backbone_options": options,
        **small,
        **sections,
    }


def begun(marks: Path) -> list[dict[str, Any]]:
    """When, on which node, in which process and of how many classes each training began; in the
    order of time."""
    found = [json.loads(file.read_text()) for file in marks.glob("*.json")]
    return sorted(found, key=lambda mark: float(mark["at"]))
