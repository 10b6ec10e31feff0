"""The arms that a study can compare: a row of `ARMS` adds one.

A row names the arm's own parameters with limits and default ranges, its penalty if it has one (see
`pcsearch.losses.VARIANTS`), its name in prose and its colour in figures. All else follows from the
row: the keys under `search` that state the ranges, messages, tables and figures.

`+` joins rows: `pc+label_smoothing` searches the parameters of both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pcsearch.training.config import LIMITS, NOT_NEGATIVE, Limits


@dataclass(frozen=True)
class Parameter:
    """A number of an arm's own: searched for that arm, and off in the others.

    Attributes:
        name: In configurations: `lambda_over_n` (λ as a fraction of the number of classes),
            `lambda` (λ itself), or a field of `TrainConfig`.
        symbol: In figures and messages.
        default: The range that is searched unless a recipe states another.
        log: Whether this range is searched on a logarithmic scale.
        limits: The values that a recipe can state.
    """

    name: str
    symbol: str
    default: tuple[float, float]
    log: bool = False
    limits: Limits = NOT_NEGATIVE


@dataclass(frozen=True)
class Arm:
    """A regulariser that competes in a study, or the control.

    Attributes:
        name: As recipes, tables and JSON name it.
        label: Its name in prose.
        colour: Of its curves in figures, as #rrggbb.
        parameters: Its own; empty for the control.
        variant: Its penalty's name in `pcsearch.losses.VARIANTS`; None for that of `train.variant`.
        passes: Passes forward and backward that one of its steps takes through the network.
    """

    name: str
    label: str
    colour: str
    parameters: tuple[Parameter, ...] = ()
    variant: str | None = None
    passes: int = 1

    def search_keys(self) -> Iterator[tuple[str, Parameter]]:
        """The key under `search` that states the range of each of its parameters."""
        for parameter in self.parameters:
            is_lambda = parameter.name == "lambda"
            yield (f"{self.name}_lambda" if is_lambda else parameter.name), parameter


def _weight(low: float, high: float) -> tuple[Parameter, ...]:
    """λ itself, on a logarithmic scale."""
    return (Parameter("lambda", "λ", (low, high), log=True),)


def _setting(
    name: str, symbol: str, low: float, high: float, *, log: bool = False
) -> tuple[Parameter, ...]:
    """A training setting, with its limits; 0 turns it off, but a range may hold it."""
    return (Parameter(name, symbol, (low, high), log, LIMITS[name]),)


CONTROL = "control"

ARMS: dict[str, Arm] = {
    arm.name: arm
    for arm in (
        Arm(CONTROL, "control", "#5f6368"),
        Arm("pc", "PC", "#0072b2", (Parameter("lambda_over_n", "λ/N", (0.05, 0.15)),)),
        Arm(
            "label_smoothing",
            "label smoothing",
            "#b45f06",
            (
                Parameter(
                    "label_smoothing",
                    "smoothing",
                    (0.02, 0.3),
                    limits=Limits(high=1, high_open=True),
                ),
            ),
        ),
        Arm("entropic", "entropic", "#00795c", _weight(0.05, 2.0), "entropic"),
        Arm("jeffreys", "jeffreys", "#a3477e", _weight(1e-4, 1e-1), "jeffreys"),
        Arm("norm", "norm", "#3b6fb6", _weight(0.1, 20.0), "norm"),
        Arm("focal", "focal loss", "#8c6d1f", _setting("focal_gamma", "γ", 0.5, 5.0)),
        Arm(
            "logit_norm",
            "LogitNorm",
            "#5b8c3e",
            _setting("logit_norm", "τ", 0.01, 0.2, log=True),
        ),
        Arm("margin_smoothing", "margin smoothing", "#c2577a", _weight(0.01, 1.0), "logit_margin"),
        Arm("poly1", "Poly-1", "#7a5ea8", _weight(0.1, 8.0), "poly1"),
        Arm("mixup", "mixup", "#d0701f", _setting("mixup", "α", 0.05, 1.0, log=True)),
        Arm("cutmix", "CutMix", "#97471d", _setting("cutmix", "α", 0.1, 2.0, log=True)),
        Arm("sam", "SAM", "#2a7f8c", _setting("sam_rho", "ρ", 0.01, 0.2, log=True), passes=2),
    )
}
"""Every arm by name, in the order of messages. `tests/test_registries.py` adds one."""

_OTHER_COLOURS = ("#444444", "#7f4f24", "#1b5e20", "#4a148c", "#01579b", "#b71c1c")
"""Of arms without a row: combinations, and the user's own."""


def competitors() -> tuple[str, ...]:
    """The names of all rows but the control's."""
    return tuple(name for name in ARMS if name != CONTROL)


def arm_named(name: str) -> Arm:
    """A row of `ARMS`, or the combination of several: `pc+label_smoothing`.

    Raises:
        ValueError: its message continues a sentence about the name.
    """
    if name in ARMS:
        return ARMS[name]
    parts = name.split("+")
    if len(parts) < 2 or not all(part in ARMS and part != CONTROL for part in parts):
        raise ValueError("is unknown")
    rows = [ARMS[part] for part in parts]
    if len(set(parts)) < len(parts):
        raise ValueError("names an arm twice")
    weighted = [row.name for row in rows if _has_weight(row)]
    if len(weighted) > 1:
        raise ValueError(f"joins {' and '.join(weighted)}, but a loss has only one penalty with λ")
    return Arm(
        name,
        " + ".join(row.label for row in rows),
        _other_colour(name),
        tuple(parameter for row in rows for parameter in row.parameters),
        next((row.variant for row in rows if row.variant), None),
        max(row.passes for row in rows),
    )


def search_keys(name: str) -> dict[str, Parameter]:
    """The keys under `search` that state an arm's ranges; a combination has those of its rows."""
    rows = (ARMS[part] for part in name.split("+") if part in ARMS)
    return {key: parameter for row in rows for key, parameter in row.search_keys()}


def _has_weight(row: Arm) -> bool:
    return any(parameter.name in ("lambda", "lambda_over_n") for parameter in row.parameters)


def label_of(arm: str) -> str:
    """An arm's name in prose; an unknown one's own name."""
    try:
        return arm_named(arm).label
    except ValueError:
        return arm


def colour_of(arm: str) -> str:
    """The colour of an arm's curves, as #rrggbb."""
    return ARMS[arm].colour if arm in ARMS else _other_colour(arm)


def _other_colour(name: str) -> str:
    return _OTHER_COLOURS[sum(name.encode()) % len(_OTHER_COLOURS)]


def symbol_of(parameter: str) -> str:
    """A parameter as figures and messages name it; an unknown one's own name."""
    known = (one for row in ARMS.values() for one in row.parameters)
    return next((one.symbol for one in known if one.name == parameter), parameter)
