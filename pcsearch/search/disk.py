"""How much disk a campaign's checkpoints take, known before it starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pcsearch.recipe.schema import Recipe

_BYTES = 4  # of a float32
_COPIES = {"sgd": 2, "adamw": 3}
"""Tensors a parameter: itself, and what the optimizer remembers of it."""

FILES = 3
"""Checkpoints of a running trial on the disk: the two that are kept, and one being written."""


@dataclass(frozen=True)
class NetworkSize:
    """Numbers in a network: those of its body, and those of its head for each class."""

    body: int
    head_per_class: float

    def numbers(self, num_classes: int) -> int:
        return self.body + round(self.head_per_class * num_classes)


KNOWN = {
    "compact_cnn": NetworkSize(78_073, 65),
    "vgg16": NetworkSize(134_260_544, 4097),
    "googlenet": NetworkSize(5_614_521, 1025),
    "resnet50": NetworkSize(23_561_205, 2049),
    "densenet161": NetworkSize(26_692_097, 2209),
    "bilinear_cnn": NetworkSize(14_714_688, 262_145),
}
"""The networks that need not be built before a campaign (see `networks.ENOUGH_PIXELS`)."""


def checkpoint_bytes(recipe: Recipe, backbone: str, size: NetworkSize, num_classes: int) -> int:
    """About how large a checkpoint of a trial is."""
    copies = _COPIES[str(recipe.train_for(backbone)["optimizer"])]
    return size.numbers(num_classes) * _BYTES * copies
