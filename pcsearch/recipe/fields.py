"""Annotated types of the values of a recipe's keys: bounded numbers, texts, lists."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    create_model,
)

from pcsearch import io
from pcsearch.errors import did_you_mean
from pcsearch.recipe.problems import show
from pcsearch.training.config import LARGEST, LARGEST_WHOLE, MOST_EPOCHS, WEIGHT_LIMITS, Limits

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
NAME_LENGTH = 100
_MOST_NAMES = 1000
REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
"""`module:function`."""
TIMM_NETWORK = re.compile(r"timm/[A-Za-z0-9_]+(\.[A-Za-z0-9_-]+)?")
BACKBONE = re.compile(rf"[A-Za-z_][A-Za-z0-9_]*|{REFERENCE.pattern}|{TIMM_NETWORK.pattern}")


ARM = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
"""The name of an arm of the user's own."""

PARAMETER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
"""The name of a parameter of the user's own loss."""


class Section(BaseModel):
    """A part of a recipe: frozen; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SparseSection(Section):
    """A section of exceptions: only the keys that were given count."""

    def given(self) -> dict[str, Any]:
        """The keys that were given, with their values."""
        return {name: getattr(self, name) for name in self.model_fields_set}


def not_bool(value: object) -> object:
    """Refuse true and false where a number is wanted."""
    if isinstance(value, bool):
        raise ValueError(f"is {show(value)}, but must be a number")
    return value


def section_of(description: str, fields: dict[str, tuple[Any, Any]]) -> Any:
    """A section with the given annotations and defaults, by name; a base class for others.

    Its type is Any: mypy cannot know the fields of a class that a registry makes.
    """
    create: Any = create_model
    return create("Section", __base__=Section, __doc__=description, **fields)


def bounded(kind: type[int | float], limits: Limits) -> Any:
    """The annotation of a number within limits."""
    bounds = {
        "gt" if limits.low_open else "ge": kind(limits.low),
        "lt" if limits.high_open else "le": kind(limits.high),
    }
    field: Any = Field
    return Annotated[kind, BeforeValidator(not_bool), field(**bounds)]


def _text(value: object) -> object:
    """Accept text that looks like a whole number (`name: 2024`)."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _names(value: object) -> object:
    """A single name stands for a list of one."""
    names = [value] if isinstance(value, str) else value
    if isinstance(names, list | tuple):
        if not all(isinstance(name, str) and name for name in names):
            raise ValueError(f"is {show(value)}, but must be a list of names")
        if len(names) > _MOST_NAMES:
            raise ValueError(f"has {len(names)} names, but must have at most {_MOST_NAMES}")
        twice = sorted(name for name, times in Counter(names).items() if times > 1)
        if twice:
            raise ValueError(f"names {', '.join(map(show, twice))} twice")
    return names


def _at_least_one(value: object) -> object:
    if value in ([], ()):
        raise ValueError("is empty, but must name at least one")
    return value


def _folder_name(value: object) -> object:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ValueError(
            f"is {show(value)}, but must consist of letters, digits, '.', '_' and '-' and begin "
            "with a letter or a digit (it names a folder)"
        )
    if len(value) > NAME_LENGTH:
        raise ValueError(
            f"has {len(value)} characters, but must have at most {NAME_LENGTH} (it names a folder)"
        )
    return value


def _path(value: object) -> object:
    if isinstance(value, Path):
        return value
    text = _text(value)
    if not isinstance(text, str) or not text or "\0" in text:
        raise ValueError(f"is {show(value)}, but must be a path")
    return expanded(text)


def expanded(text: str) -> Path:
    """The path of a text, with a leading `~` replaced by the user's home folder."""
    return io.expanded(text) if text.startswith(("~/", "~\\")) or text == "~" else Path(text)


def _empty(value: object) -> object:
    """Accept a section whose keys are all commented out."""
    return {} if value is None else value


# Every number has an upper bound far beyond useful values, so that no recipe fills the memory.
Whole = Annotated[int, BeforeValidator(not_bool), Field(ge=0, le=LARGEST_WHOLE)]
Count = Annotated[int, BeforeValidator(not_bool), Field(ge=1, le=LARGEST_WHOLE)]
Epochs = Annotated[Count, Field(le=MOST_EPOCHS)]
Trials = Annotated[Count, Field(le=100_000)]
Seed = Annotated[int, BeforeValidator(not_bool), Field(ge=0, le=2**32 - 1)]
Real = Annotated[float, BeforeValidator(not_bool), Field(ge=-LARGEST, le=LARGEST)]
NonNegative = Annotated[Real, Field(ge=0)]
Positive = Annotated[Real, Field(gt=0)]
PositiveEpochs = Annotated[Positive, Field(le=MOST_EPOCHS)]
Money = Annotated[float, BeforeValidator(not_bool), Field(gt=0, le=1e12)]
Fraction = Annotated[Real, Field(gt=0, lt=1)]
Text = Annotated[str, BeforeValidator(_text)]
FolderName = Annotated[str, BeforeValidator(_folder_name), BeforeValidator(_text)]
Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
SomeNames = Annotated[tuple[str, ...], BeforeValidator(_at_least_one), BeforeValidator(_names)]
FilePath = Annotated[Path, BeforeValidator(_path)]
OrEmpty = BeforeValidator(_empty)


_COUNTED = ("none", "balanced")


def _class_weights(value: object, weights: ValidatorFunctionWrapHandler) -> object:
    """Weights by name; whole numbers are names of classes, too."""
    if value in _COUNTED:
        return value
    if not isinstance(value, dict) or not value:
        near = did_you_mean(value, _COUNTED) if isinstance(value, str) else ""
        raise ValueError(
            f"is {show(value)}, but must be none, balanced, or weights of classes, as in "
            f"{{robin: 3, wren: 1.5}}{near}"
        )
    return weights({str(name): weight for name, weight in value.items()})


_BY_NAME = {
    "type": "object",
    "additionalProperties": {
        "type": "number",
        "exclusiveMinimum": WEIGHT_LIMITS.low,
        "maximum": WEIGHT_LIMITS.high,
    },
}
_Weight: Any = bounded(float, WEIGHT_LIMITS)
ClassWeights = Annotated[
    dict[str, _Weight],  # no union: its messages would not tell which weight is wrong
    WrapValidator(_class_weights),
    WithJsonSchema({"anyOf": [{"enum": [*_COUNTED], "type": "string"}, _BY_NAME]}),
]
