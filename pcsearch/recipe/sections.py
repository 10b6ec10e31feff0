"""The sections of a recipe except `search`: data, image, train, asha, budget and others."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace
from keyword import iskeyword
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from pcsearch.data.augmentations import AUGMENTATIONS, Augmentation, Setting
from pcsearch.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from pcsearch.recipe.fields import (
    PARAMETER,
    REFERENCE,
    ClassWeights,
    Count,
    Epochs,
    FilePath,
    Fraction,
    Money,
    NonNegative,
    OrEmpty,
    Positive,
    Real,
    Section,
    Seed,
    SparseSection,
    Whole,
    bounded,
    section_of,
)
from pcsearch.recipe.problems import show
from pcsearch.recipe.search_space import (
    ANY_NUMBER,
    SHARED,
    Dimension,
    Space,
    parse_space,
    to_number,
)
from pcsearch.training.config import (
    LARGEST_WHOLE,
    LIMITS,
    Limits,
    TrainConfig,
    recipe_settings,
)


def _train_field(name: str, kind: Any, default: Any) -> tuple[Any, Any]:
    """Annotation and default of a setting of `TrainConfig`, with its limits."""
    if name == "class_weights":
        return ClassWeights, default
    limits = LIMITS.get(name)
    if limits is None:
        return kind, default
    low = SHARED[name].limits.low if name in SHARED else limits.low
    number = bounded(int if kind is int else float, replace(limits, low=low))
    return (number if kind in (int, float) else number | None), default


TrainValues: Any = section_of(
    "Settings of one training: every field of `TrainConfig` that a campaign does not set.",
    {name: _train_field(name, *setting) for name, setting in recipe_settings().items()},
)


class TrainExceptions(TrainValues, SparseSection):  # type: ignore[misc]
    """Settings of one backbone that differ from the others'."""


class TrainSection(TrainValues):  # type: ignore[misc]
    """Settings of every training, with exceptions for single backbones."""

    per_backbone: Annotated[dict[str, TrainExceptions], OrEmpty] = Field(default_factory=dict)

    def for_backbone(self, backbone: str) -> dict[str, Any]:
        """Every setting by name, the backbone's exceptions applied."""
        shared = {name: getattr(self, name) for name in TrainValues.model_fields}
        exceptions = self.per_backbone.get(backbone)
        return shared | (exceptions.given() if exceptions else {})


_UnitInterval = Annotated[NonNegative, Field(le=1)]
Side = Annotated[Count, Field(ge=8, le=4096)]


def _three(value: object) -> object:
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise ValueError(f"is {show(value)}, but must be three numbers: red, green, blue")
    return value


Mean = Annotated[Real, Field(ge=-1000, le=1000)]
_Deviation = Annotated[Positive, Field(le=1000)]
_Channels = Annotated[tuple[Mean, Mean, Mean], BeforeValidator(_three)]
_Deviations = Annotated[tuple[_Deviation, _Deviation, _Deviation], BeforeValidator(_three)]
_Retrained = Annotated[Whole, Field(le=100)]
_MOST_SEEDS = 1000
MOST_AT_ONCE, MOST_OF_A_TRIAL = 10_000, 1000


def _fieldguide(name: str) -> Any:
    """A field with the default of `FieldguideOptions`, imported only when needed."""

    def default() -> object:
        from pcsearch.data.fieldguide.options import FieldguideOptions

        return getattr(FieldguideOptions(), name)

    return Field(default_factory=default)


class FieldguideSection(Section):
    """The drawn dataset: number of species and images, and their similarity."""

    species: Annotated[Count, Field(ge=2, le=1000)] = _fieldguide("species")
    images_per_species: Annotated[Count, Field(ge=3, le=1000)] = _fieldguide("images_per_species")
    size: Annotated[Count, Field(ge=32, le=512)] = _fieldguide("size")
    similarity: _UnitInterval = _fieldguide("similarity")
    imbalance: _UnitInterval = _fieldguide("imbalance")
    seed: Seed = _fieldguide("seed")


Classes = tuple[Annotated[int, Field(ge=0, le=LARGEST_WHOLE)] | str, ...]


def _classes(value: object) -> object:
    if value == "all":
        return value
    if not isinstance(value, list | tuple):
        raise ValueError(f'is {show(value)}, but must be "all" or a list of class ids or names')
    for item in value:
        if isinstance(item, bool) or not isinstance(item, int | str) or item == "":
            raise ValueError(f"holds {show(item)}, but must hold class ids or names")
        if isinstance(item, int) and not 0 <= item <= LARGEST_WHOLE:
            raise ValueError(f"holds {show(item)}, but a class id is at most {LARGEST_WHOLE}")
    if len(value) < 2:
        raise ValueError(f"is {show(value)}, but must hold at least two classes")
    twice = [item for item, times in Counter(value).items() if times > 1]
    if twice:
        raise ValueError(f"names {show(twice[0])} twice")
    return tuple(value)


class DataSection(Section):
    """Where the images are, which classes are used, and how they are split."""

    root: FilePath = Path("data")
    images: FilePath | None = None
    manifest: FilePath | None = None
    levels: Annotated[dict[str, str], OrEmpty] = Field(default_factory=dict)
    instance: Seed = 0
    classes: Annotated[Literal["all"] | Classes, BeforeValidator(_classes)] = "all"
    val_fraction: Fraction = 0.2
    test_fraction: Fraction = 0.2
    split_seed: Seed = 0
    near_duplicates: Literal["together", "ignore"] = "together"
    on_bad_image: Literal["fail", "skip"] = "fail"
    allow_pretraining_overlap: bool = False
    fieldguide: Annotated[FieldguideSection, OrEmpty] = Field(default_factory=FieldguideSection)


def _setting(setting: Setting) -> tuple[Any, Any]:
    kind = type(setting.default)
    if kind is bool:
        return bool, setting.default
    return bounded(kind, Limits(setting.low, setting.high)), setting.default


def _augmentation_field(augmentation: Augmentation) -> tuple[Any, Any]:
    """Annotation and default of an augmentation's key; a number stands for the parts at 0."""
    if not augmentation.parts:
        return _setting(augmentation.settings[0])
    settings = dict(zip(augmentation.parts, augmentation.settings, strict=True))
    section = section_of(
        f"How far {augmentation.name} goes.",
        {part: _setting(setting) for part, setting in settings.items()},
    )
    by_number = {part: one for part, one in settings.items() if one.default == 0}
    high = min(one.high for one in by_number.values())

    def spread(value: object) -> object:
        number = to_number(value)
        if number is None:
            return {} if value is None else value
        if not 0 <= number <= high:
            raise ValueError(f"is {show(value)}, but must be at least 0 and at most {high:g}")
        return dict.fromkeys(by_number, number)

    return Annotated[section, BeforeValidator(spread)], Field(default_factory=section)


_ImageValues: Any = section_of(
    "What may differ from one dataset to another.",
    {
        "resize": (Side, 256),
        "crop": (Side, 224),
        "aspect": (Literal["warp", "keep"], "warp"),
        "flip": (bool, True),
        **{name: _augmentation_field(one) for name, one in AUGMENTATIONS.items()},
    },
)


class ImageSize(_ImageValues, SparseSection):  # type: ignore[misc]
    """What differs for one dataset."""


class ImageSection(_ImageValues):  # type: ignore[misc]
    """Images become squares of `resize` pixels, are cropped to `crop` and normalised.

    `aspect: warp` squeezes them into the square; `keep` scales the shorter side and crops the
    longer one.
    """

    mean: _Channels = IMAGENET_MEAN
    std: _Deviations = IMAGENET_STD
    per_dataset: Annotated[dict[str, ImageSize], OrEmpty] = Field(default_factory=dict)

    def augment(self) -> dict[str, tuple[float, ...]]:
        """The settings of each augmentation, by name."""
        values = ((one, getattr(self, name)) for name, one in AUGMENTATIONS.items())
        return {
            one.name: tuple(getattr(value, part) for part in one.parts) if one.parts else (value,)
            for one, value in values
        }


def _loss(value: object) -> object:
    if not isinstance(value, str) or not REFERENCE.fullmatch(value):
        raise ValueError(f"is {show(value)}, but must be module:function, as in my_losses:gentle")
    return value


def _own_space(value: object) -> object:
    """The parameters of a loss function, each with its space."""
    if not isinstance(value, dict) or not value:
        raise ValueError(
            f"is {show(value)}, but must be a mapping from the function's parameters to spaces, as "
            "in {strength: {low: 0.1, high: 10, log: true}}"
        )
    spaces = {}
    for name, given in value.items():
        if not isinstance(name, str) or not PARAMETER.fullmatch(name) or iskeyword(name):
            raise ValueError(
                f"holds {show(name)}, which is no name for a parameter: it must be a letter, then "
                "letters, digits or _, at most 40 in all, and no keyword of Python"
            )
        if name in _TAKEN:
            raise ValueError(f"holds {show(name)}, which is the name of a setting: rename it")
        try:
            spaces[name] = parse_space(given, Dimension(name, ANY_NUMBER))
        except ValueError as error:
            raise ValueError(f"is mistaken: {name} {error}") from None
    return spaces


_TAKEN = frozenset({"logits", "labels", "lambda", "lambda_over_n", "seed", "split"}) | {
    one.name for one in fields(TrainConfig)
}
"""Names that mean something else in a configuration or in the function's call."""


class OwnArm(Section):
    """An arm of the user's own: a loss function in place of the classification loss.

    It is called as `loss(logits, labels, **values)`, with logits [B, N] in float32 or wider, class
    indices [B], and a value for each parameter of `space`. It returns a scalar.
    """

    loss: Annotated[str, BeforeValidator(_loss)]
    space: Annotated[dict[str, Space], BeforeValidator(_own_space)]


class AshaSection(Section):
    """The ladder of early stopping; epochs are the only unit of fidelity.

    `arm_epochs` states the most epochs of arms that need more or fewer, by name.
    """

    max_epochs: Epochs
    arm_epochs: Annotated[dict[str, Epochs], OrEmpty] = Field(default_factory=dict)
    grace_epochs: Epochs = 1
    reduction_factor: Annotated[Count, Field(ge=2, le=100)] = 3
    rule: Literal["noise", "plain"] = "noise"
    full_trainings: Annotated[Whole, Field(le=10_000)] = 4


class FinalistsSection(Section):
    """Every arm retrains all arms' best `configs` on `repeats` further splits and seeds."""

    configs: _Retrained = 2
    repeats: _Retrained = 4


class ConfirmSection(Section):
    """Trainings of each arm's chosen configuration with `seeds` fresh seeds.

    `epochs` None means asha.max_epochs. `until: decided` doubles the seeds, up to `max_seeds`,
    while no verdict is clear.
    """

    seeds: Annotated[Whole, Field(le=_MOST_SEEDS)] = 5
    epochs: Epochs | None = None
    until: Literal["seeds", "decided"] = "seeds"
    max_seeds: Annotated[Count, Field(le=_MOST_SEEDS)] = 20

    @property
    def most_seeds(self) -> int:
        """Most confirm seeds."""
        return max(self.seeds, self.max_seeds) if self.until == "decided" else self.seeds


def _concurrency(value: object) -> object:
    number = to_number(value)
    if value == "auto":
        return value
    if number is None or number != int(number) or number < 1:
        raise ValueError(f'is {show(value)}, but must be "auto" or a whole number, at least 1')
    if number > MOST_AT_ONCE:
        raise ValueError(f"is {show(value)}, but must be at most {MOST_AT_ONCE}")
    return int(number)


def _gpus(value: object) -> object:
    if value == "auto":
        return value
    number = to_number(value)
    if number is None or number < 0:
        raise ValueError(f"is {show(value)}, but must be 0, 1, a fraction of a GPU, or auto")
    if number > 1:
        raise ValueError(
            f"is {show(value)}, but must be at most 1: a trial trains on one GPU. More GPUs run "
            "more trials at once"
        )
    return number


_AtOnce = Annotated[Count, Field(le=MOST_AT_ONCE)]
_Gpus = Annotated[NonNegative, Field(le=1)]


class ResourcesSection(Section):
    """What one trial takes, and how many run at once.

    `gpus_per_trial: auto` is one GPU if there are any, else none. `residency` says where the
    decoded images are kept while a GPU trains.
    """

    cpus_per_trial: Annotated[Positive, Field(le=MOST_OF_A_TRIAL)] = 1.0
    gpus_per_trial: Annotated[Literal["auto"] | _Gpus, BeforeValidator(_gpus)] = 0.0
    max_concurrent: Annotated[Literal["auto"] | _AtOnce, BeforeValidator(_concurrency)] = "auto"
    residency: Literal["auto", "device", "host"] = "auto"


class BudgetSection(Section):
    """The search stops early enough that finalists and confirm still fit.

    `hours` is wall-clock time. `cost` is the price of the nodes that run trials, each at
    `price_per_node_hour`, in the same currency.
    """

    hours: Annotated[Positive, Field(le=100_000)] | None = None
    cost: Money | None = None
    price_per_node_hour: Money | None = None
