"""Arms: the regularisers that compete in a study, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Parameter = Literal["lambda_over_n", "lambda", "label_smoothing"]


@dataclass(frozen=True)
class Arm:
    """A regulariser: the loss variant it needs (None: that of `train.variant`), and what it tunes.

    `parameter` is the dimension of its own: λ as a fraction of the number of classes, λ itself,
    or the amount of label smoothing; the control has none. `label` is its name in prose.
    """

    name: str
    label: str
    variant: str | None
    parameter: Parameter | None

    @property
    def search_key(self) -> str | None:
        """The key under `search` that states the range of its own dimension."""
        return f"{self.name}_lambda" if self.parameter == "lambda" else self.parameter


ARMS: dict[str, Arm] = {
    arm.name: arm
    for arm in (
        Arm("control", "control", None, None),
        Arm("pc", "PC", None, "lambda_over_n"),
        Arm("label_smoothing", "label smoothing", None, "label_smoothing"),
        Arm("entropic", "entropic", "entropic", "lambda"),
        Arm("jeffreys", "jeffreys", "jeffreys", "lambda"),
    )
}

CONTROL = "control"
COMPETITORS = tuple(name for name in ARMS if name != CONTROL)
