"""The arms that a study can compare: a row of `ARMS` adds one.

A row names the arm's penalty (see `pcsearch.losses.VARIANTS`), its own parameter with limits and
default range, its name in prose and its colour in figures. All else follows from the row: the key
under `search` that states the range, messages, tables and figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from pcsearch.training.config import NOT_NEGATIVE, Limits

Parameter = Literal["lambda_over_n", "lambda", "label_smoothing"]
"""λ as a fraction of the number of classes, λ itself, or the amount of label smoothing."""

PARAMETERS: tuple[Parameter, ...] = get_args(Parameter)
SYMBOLS = {"lambda_over_n": "λ/N", "lambda": "λ", "label_smoothing": "smoothing"}
"""The parameters as figures and messages name them."""


@dataclass(frozen=True)
class Arm:
    """A regulariser that competes in a study, or the control.

    Attributes:
        name: As recipes, tables and JSON name it.
        label: Its name in prose.
        colour: Of its curves in figures, as #rrggbb.
        parameter: Its own parameter; None for the control.
        default: The range of the parameter that is searched unless a recipe states another.
        log: Whether this range is searched on a logarithmic scale.
        limits: The values that a recipe can state.
        variant: Its penalty's name in `pcsearch.losses.VARIANTS`; None for that of `train.variant`.
    """

    name: str
    label: str
    colour: str
    parameter: Parameter | None = None
    default: tuple[float, float] = (0.0, 0.0)
    log: bool = False
    limits: Limits = NOT_NEGATIVE
    variant: str | None = None

    @property
    def search_key(self) -> str | None:
        """The key under `search` that states the range of its parameter."""
        return f"{self.name}_lambda" if self.parameter == "lambda" else self.parameter


CONTROL = "control"

ARMS: dict[str, Arm] = {
    arm.name: arm
    for arm in (
        Arm(CONTROL, "control", "#5f6368"),
        Arm("pc", "PC", "#0072b2", "lambda_over_n", (0.05, 0.15)),
        Arm(
            "label_smoothing",
            "label smoothing",
            "#b45f06",
            "label_smoothing",
            (0.02, 0.3),
            limits=Limits(high=1, high_open=True),
        ),
        Arm("entropic", "entropic", "#00795c", "lambda", (0.05, 2.0), True, variant="entropic"),
        Arm("jeffreys", "jeffreys", "#a3477e", "lambda", (1e-4, 1e-1), True, variant="jeffreys"),
    )
}
"""Every arm by name, in the order of messages. `tests/test_registries.py` adds one."""


def competitors() -> tuple[str, ...]:
    """The names of all arms but the control."""
    return tuple(name for name in ARMS if name != CONTROL)


def label_of(arm: str) -> str:
    """An arm's name in prose; an unknown one's own name."""
    return ARMS[arm].label if arm in ARMS else arm
