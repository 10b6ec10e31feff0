"""The search space: dimensions and the values that a recipe states for them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from pcsearch.arms import ARMS
from pcsearch.recipe.problems import show
from pcsearch.training.config import LARGEST, LIMITS, NOT_NEGATIVE, Limits, recipe_settings

Number = int | float
ANY_NUMBER = Limits(low=-LARGEST)
_AUTO = "auto"


@dataclass(frozen=True)
class Space:
    """The values of one dimension: a fixed one, a range (linear or logarithmic), or choices.

    `auto` is a range that is measured before a campaign starts; a plan that runs has none.
    """

    kind: Literal["fixed", "range", "choices", "auto"]
    value: Number | None = None
    low: Number | None = None
    high: Number | None = None
    log: bool = False
    choices: tuple[Number, ...] | None = None

    @staticmethod
    def fixed(value: Number) -> Space:
        return Space("fixed", value=value)

    @staticmethod
    def between(low: Number, high: Number, *, log: bool = False) -> Space:
        return Space("range", low=low, high=high, log=log)

    @staticmethod
    def of(choices: tuple[Number, ...]) -> Space:
        return Space("choices", choices=choices)

    @staticmethod
    def auto() -> Space:
        return Space("auto")

    @property
    def lowest(self) -> Number:
        """The smallest value that the space holds."""
        if self.choices is not None:
            return min(self.choices)
        return self.low if self.low is not None else (self.value or 0)

    @property
    def highest(self) -> Number:
        """The largest value that the space holds."""
        if self.choices is not None:
            return max(self.choices)
        return self.high if self.high is not None else (self.value or 0)

    def nearest(self, value: Number) -> Number:
        """The nearest value of this space to the given one; choices are compared by ratio."""
        if self.kind == "fixed":
            return self.value or 0
        if self.choices is None:
            return min(max(value, self.lowest), self.highest)
        if self.lowest > 0 and value > 0:
            return min(self.choices, key=lambda choice: abs(math.log(choice / value)))
        return min(self.choices, key=lambda choice: abs(choice - value))

    def to_json(self) -> dict[str, Any]:
        """Every field, ready for JSON; `Space(**...)` rebuilds it (choices come as a list)."""
        return asdict(self) | {"choices": list(self.choices) if self.choices else None}

    def to_yaml(self) -> Any:
        """As a recipe writes it."""
        if self.choices is not None:
            return {"choices": list(self.choices)}
        if self.kind == "range":
            return {"low": self.low, "high": self.high, "log": self.log}
        return _AUTO if self.kind == "auto" else self.value


@dataclass(frozen=True)
class Dimension:
    """A hyperparameter that a recipe may search, and the values it can take.

    `measurable`: whether its range can be measured (`auto`).
    """

    name: str
    limits: Limits = NOT_NEGATIVE
    whole: bool = False
    measurable: bool = False

    @property
    def allowed(self) -> str:
        """The values that it can take, in words."""
        kind, limits = "a whole number" if self.whole else "a number", self.limits
        low = f"greater than {limits.low:g}" if limits.low_open else f"{limits.low:g} or more"
        return f"{kind}, {low}" + (f" and below {limits.high:g}" if limits.high_open else "")

    def number(self, value: object, where: str = "") -> Number:
        """The value as a number of this dimension; ValueError says what is allowed."""
        number = to_number(value)
        high = self.limits.high
        if number is not None and number > high and not self.limits.high_open:
            raise ValueError(f"{where}is {show(value)}, but must be at most {high:,.0f}")
        if number is None or not self._admits(number):
            raise ValueError(f"{where}is {show(value)}, but must be {self.allowed}")
        return int(number) if self.whole else float(number)

    def _admits(self, number: Number) -> bool:
        return self.limits.admit(number) and not (self.whole and number != int(number))


def _setting(name: str, low: float | None = None, measurable: bool = False) -> Dimension:
    """The dimension of a training setting, with the setting's limits; `low` is another least."""
    limits = LIMITS[name] if low is None else replace(LIMITS[name], low=low)
    return Dimension(name, limits, recipe_settings()[name][0] is int, measurable)


SHARED = {
    dimension.name: dimension
    for dimension in (
        _setting("lr", measurable=True),
        _setting("weight_decay"),
        _setting("batch_size", low=2),  # a batch of one has no pair
        _setting("head_lr_multiplier"),
        _setting("head_only_epochs"),
    )
}
"""Dimensions that every arm has, in the order in which they are sampled; a row adds one."""


def own_dimensions() -> dict[str, Dimension]:
    """The dimensions that belong to arms, by their keys under `search`."""
    keys = (pair for arm in ARMS.values() for pair in arm.search_keys())
    return {key: Dimension(key, parameter.limits) for key, parameter in keys}


def dimensions() -> dict[str, Dimension]:
    """Every dimension, by its key under `search`."""
    return SHARED | own_dimensions()


_FORMS = "a number, [low, high], {low: , high: , log: true} or {choices: [...]}"


def parse_space(value: object, dimension: Dimension) -> Space:
    """The space that a recipe states.

    Raises:
        ValueError: its message continues a sentence that begins with the key.
    """
    if isinstance(value, Space):
        return value
    if value == _AUTO and dimension.measurable:
        return Space.auto()
    if isinstance(value, Mapping):
        return _from_mapping(value, dimension)
    if isinstance(value, list | tuple):
        if len(value) != 2:
            raise ValueError(
                f"is {show(value)}, but a list must be [low, high]; "
                "to choose among values write {choices: [...]}"
            )
        return _range(value[0], value[1], False, dimension)
    if to_number(value) is None:
        forms = f"{_AUTO}, {_FORMS}" if dimension.measurable else _FORMS
        raise ValueError(f"is {show(value)}, but must be {forms}")
    return Space.fixed(dimension.number(value))


def parse_choices(value: object, dimension: Dimension) -> tuple[Number, ...]:
    """A list of at least one value, all different."""
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f"is {show(value)}, but must be a list of values")
    numbers = tuple(dimension.number(item, "holds a value that ") for item in value)
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"is {show(value)}, but its values must differ")
    return numbers


def to_number(value: object) -> Number | None:
    """A finite number, also from text such as `1e-4`; None for anything else."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value) if isinstance(value, int | float | str) else float("nan")
    except (ValueError, OverflowError):
        return None
    if number != number or number in (float("inf"), float("-inf")):
        return None
    return value if isinstance(value, int) else number


def _from_mapping(value: Mapping[Any, Any], dimension: Dimension) -> Space:
    keys = set(value)
    if keys == {"choices"}:
        return Space.of(parse_choices(value["choices"], dimension))
    if not {"low", "high"} <= keys <= {"low", "high", "log"}:
        raise ValueError(f"is {show(value)}, but must be {_FORMS}")
    log = value.get("log", False)
    if not isinstance(log, bool):
        raise ValueError(f"has log {show(log)}, but log must be true or false")
    return _range(value["low"], value["high"], log, dimension)


def _range(low: object, high: object, log: bool, dimension: Dimension) -> Space:
    lowest = dimension.number(low, "has a lower end that ")
    highest = dimension.number(high, "has an upper end that ")
    if lowest >= highest:
        raise ValueError(
            f"is {show([lowest, highest])}, but must be [low, high] with low below high"
            + (" (a single number fixes it)" if lowest == highest else "")
        )
    if log and lowest <= 0:
        raise ValueError(
            f"has a lower end of {show(lowest)}, but must be greater than 0 with log: true"
        )
    return Space.between(lowest, highest, log=log)
