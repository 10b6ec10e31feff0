"""How large a trial's checkpoint is, before any network is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pcsearch.recipe.schema import Recipe

_BYTES = 4  # of a float32
_COPIES = {"sgd": 2, "adamw": 3}
"""Tensors per parameter: itself, and its state in the optimizer."""

FILES = 3
"""Checkpoints of a running trial on disk: two are kept, one is being written."""


@dataclass(frozen=True)
class NetworkSize:
    """Parameters of a network: of its body, and of its head per class."""

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
"""Networks that need not be built before a campaign (see `model_check.ENOUGH_PIXELS`)."""


def checkpoint_bytes(recipe: Recipe, backbone: str, size: NetworkSize, num_classes: int) -> int:
    """The approximate size of a trial's checkpoint."""
    copies = _COPIES[str(recipe.train_for(backbone)["optimizer"])]
    numbers = size.numbers(num_classes)
    if recipe.freezes_body(backbone):  # it holds the head alone
        numbers -= size.body
    return numbers * _BYTES * copies
