"""The recipe: what a campaign searches, on which images, with which budget."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from pcsearch.arms import ARMS, search_keys
from pcsearch.errors import did_you_mean
from pcsearch.recipe import yaml_core
from pcsearch.recipe.fields import (
    FolderName,
    Names,
    OrEmpty,
    Section,
    Seed,
    SomeNames,
    SparseSection,
    Trials,
    expanded,
    section_of,
)
from pcsearch.recipe.problems import show
from pcsearch.recipe.search_space import (
    SHARED,
    Dimension,
    Number,
    Space,
    dimensions,
    own_dimensions,
    parse_choices,
    parse_space,
)
from pcsearch.recipe.sections import (
    AshaSection,
    BudgetSection,
    ConfirmSection,
    DataSection,
    FinalistsSection,
    ImageSection,
    OwnArm,
    ResourcesSection,
    TrainSection,
)
from pcsearch.training.metrics import deciding_metrics

DEFAULT_LR = Space.between(0.001, 0.1, log=True)
_LONGEST_RUN = 1000
"""Characters of the name, folder or address of an earlier run."""


def _metric(value: object) -> object:
    known = tuple(deciding_metrics())
    if value not in known:
        near = did_you_mean(str(value), known)
        raise ValueError(f"is {show(value)}, but must be {', '.join(known)}{near}")
    return value


def _validation_only(value: object) -> object:
    if value == "test":
        raise ValueError(
            'is "test", but must be "validation": the test images are measured once, after λ is '
            "chosen; choosing by them would inflate their accuracy"
        )
    return value


def _runs(value: object) -> object:
    """Names, folders or addresses of runs; that they exist is checked before a start."""
    runs = [value] if isinstance(value, str) else value
    if isinstance(runs, list | tuple):
        for run in runs:
            if isinstance(run, str) and (not run.isprintable() or len(run) > _LONGEST_RUN):
                raise ValueError(f"holds {show(run)}, which is not the name of a run")
    return value


def _grid(value: object) -> object:
    """Values of each key, checked like that key; `checks.py` reports unknown keys."""
    if value is None:
        return None
    if not isinstance(value, dict) or not value:
        raise ValueError(f"is {show(value)}, but must be a mapping from keys to lists of values")
    known = dimensions()
    for key, values in value.items():
        if key not in known and not isinstance(values, list | tuple):
            raise ValueError(f"is {show(value)}, but must be a mapping from keys to lists")
    grid: dict[str, object] = {}
    for key, values in value.items():
        try:
            grid[key] = parse_choices(values, known[key]) if key in known else ()
        except ValueError as error:
            raise ValueError(f"is wrong for {key}, which {error}") from None
    return grid


def _searched(dimension: Dimension, default: Space | None) -> tuple[Any, Space | None]:
    """Annotation and default of a dimension; a shared one may be null."""
    if dimension.name not in SHARED:
        parse = BeforeValidator(lambda value: parse_space(value, dimension))
        return Annotated[Space, parse], default
    parse = BeforeValidator(lambda v: None if v is None else parse_space(v, dimension))
    return Annotated[Space | None, parse], default


def _space_fields() -> Iterator[tuple[str, tuple[Any, Space | None]]]:
    for name, dimension in SHARED.items():
        yield name, _searched(dimension, DEFAULT_LR if name == "lr" else None)
    own = own_dimensions()
    for arm in ARMS.values():
        for key, parameter in arm.search_keys():
            default = Space.between(*parameter.default, log=parameter.log)
            yield key, _searched(own[key], default)


SpaceValues: Any = section_of(
    "The search dimensions. A shared one that is null is not searched: `train` sets its value.",
    dict(_space_fields()),
)


class SpaceExceptions(SpaceValues, SparseSection):  # type: ignore[misc]
    """Dimensions of one backbone that differ from the others'."""


class SearchSection(SpaceValues):  # type: ignore[misc]
    """What is searched, how, and how much of it; `trials` counts per arm."""

    trials: Trials = 20
    arms: Names = ("pc",)
    control: Literal["matched", "single", "none"] = "matched"
    match: Literal["trials", "images", "seconds"] = "trials"
    sampler: Literal["tpe", "gp", "random", "grid", "qmc"] = "tpe"
    grid: Annotated[dict[str, tuple[Number, ...]] | None, BeforeValidator(_grid)] = None
    startup_trials: Trials | None = None
    seed: Seed = 0
    widen: Literal["auto", "never"] = "auto"
    prior: Annotated[Names, BeforeValidator(_runs)] = ()
    evaluate_on: Annotated[Literal["validation"], BeforeValidator(_validation_only)] = "validation"
    per_backbone: Annotated[dict[str, SpaceExceptions], OrEmpty] = Field(default_factory=dict)

    def space_for(self, backbone: str, arm: str) -> dict[str, Space]:
        """The dimensions of an arm: the shared ones in their order, then its own.

        The arm's own dimensions have the names of its parameters, such as `lambda_over_n`. Keys of
        a grid become choices. An arm of the user's own has only the shared ones here.
        """
        own = {key: parameter.name for key, parameter in search_keys(arm).items()}
        names: dict[str, str] = {name: name for name in SHARED} | own
        spaces = ((name, self._space(backbone, key)) for key, name in names.items())
        return {name: space for name, space in spaces if space is not None}

    def _space(self, backbone: str, key: str) -> Space | None:
        if self.grid and key in self.grid:
            return Space.of(self.grid[key])
        exceptions: dict[str, Any] = {}
        if backbone in self.per_backbone:
            exceptions = self.per_backbone[backbone].given()
        space: Space | None = exceptions.get(key, getattr(self, key))
        return space


NO_IMAGENET = ("compact_cnn",)
"""Backbones of ours without ImageNet weights."""


def _weights(value: object) -> object:
    entries = value.values() if isinstance(value, dict) else [value]
    entries = [str(entry) if isinstance(entry, Path) else entry for entry in entries]
    if not all(isinstance(entry, str) and entry for entry in entries):
        raise ValueError(
            f"is {show(value)}, but must be imagenet, none, a path to a state dict, "
            "or a mapping from backbones to these"
        )
    paths = [
        str(expanded(str(entry))) if str(entry).startswith("~") else entry for entry in entries
    ]
    return dict(zip(value, paths, strict=True)) if isinstance(value, dict) else paths[0]


class Recipe(Section):
    """A validated recipe; every key has its value, defaults included."""

    name: FolderName
    datasets: SomeNames
    backbones: SomeNames
    weights: Annotated[str | dict[str, str], BeforeValidator(_weights)] = "imagenet"
    backbone_options: Annotated[dict[str, Annotated[dict[str, Any], OrEmpty]], OrEmpty] = Field(
        default_factory=dict
    )
    metric: Annotated[str, BeforeValidator(_metric)] = "top1"
    arms: Annotated[dict[str, OwnArm], OrEmpty] = Field(default_factory=dict)
    data: DataSection = Field(default_factory=DataSection)
    image: ImageSection = Field(default_factory=ImageSection)
    search: SearchSection = Field(default_factory=SearchSection)
    asha: AshaSection
    finalists: FinalistsSection = Field(default_factory=FinalistsSection)
    confirm: ConfirmSection = Field(default_factory=ConfirmSection)
    train: TrainSection = Field(default_factory=TrainSection)
    resources: ResourcesSection = Field(default_factory=ResourcesSection)
    budget: BudgetSection = Field(default_factory=BudgetSection)

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        data = {key: {} if key in _SECTIONS and data[key] is None else data[key] for key in data}
        data.setdefault("asha", {})  # so that the message names the key that is missing
        train, search = data.get("train"), data.get("search", {})
        if isinstance(train, dict) and "lr" in train and isinstance(search, dict):
            # a learning rate under `train` is intended: search it only if `search` states it
            data["search"] = {"lr": None} | search
        return data

    @property
    def confirm_epochs(self) -> int:
        """Epochs of a training of the confirm phase."""
        return self.confirm.epochs or self.asha.max_epochs

    def train_for(self, backbone: str) -> dict[str, Any]:
        """The `train` settings of a backbone, its exceptions applied."""
        return self.train.for_backbone(backbone)

    def freezes_body(self, backbone: str) -> bool:
        """Whether trials train the head of a backbone alone, to the end."""
        return bool(self.train_for(backbone)["freeze"] == "body")

    def space_for(self, backbone: str, arm: str) -> dict[str, Space]:
        """The search dimensions of an arm, in the order in which they are sampled."""
        own = self.arms[arm].space if arm in self.arms else {}
        return self.search.space_for(backbone, arm) | own

    @property
    def code(self) -> dict[str, object]:
        """What is imported for this recipe, if any is code: each name with its options.

        Names of networks and of losses; only those written `module:function` are code.
        """
        networks = {name: self.options_for(name) for name in self.backbones}
        return networks | {own.loss: sorted(own.space) for own in self.arms.values()}

    @property
    def measures_lr(self) -> bool:
        """Whether the learning rate's range is measured, for any of the backbones."""
        spaces = (self.space_for(backbone, "control").get("lr") for backbone in self.backbones)
        return any(space is not None and space.kind == "auto" for space in spaces)

    def weights_for(self, backbone: str) -> str:
        """`imagenet`, `none` or a path; a backbone left out of a mapping takes `imagenet`."""
        if isinstance(self.weights, str):
            return self.weights
        return self.weights.get(backbone, "none" if backbone in NO_IMAGENET else "imagenet")

    def options_for(self, backbone: str) -> dict[str, Any]:
        """Options of the backbone's builder."""
        return dict(self.backbone_options.get(backbone, {}))

    def image_for(self, dataset: str) -> ImageSection:
        """The `image` settings of a dataset, its exceptions applied (and `per_dataset` empty)."""
        exceptions = self.image.per_dataset.get(dataset)
        changes = exceptions.given() if exceptions else {}
        section: ImageSection = self.image.model_copy(update={**changes, "per_dataset": {}})
        return section

    def to_mapping(self) -> dict[str, Any]:
        """Plain data with every key, as a recipe file writes it."""
        plain = _plain(self)
        assert isinstance(plain, dict)
        return plain

    def dump_yaml(self) -> str:
        """A recipe file with every key; loading it gives an equal recipe."""
        return yaml_core.dump(self.to_mapping())


_SECTIONS = tuple(
    name
    for name, field in Recipe.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
)


def _plain(value: object) -> object:
    if isinstance(value, SparseSection):
        given = value.given()
        return {name: _plain(given[name]) for name in type(value).model_fields if name in given}
    if isinstance(value, BaseModel):
        return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Space):
        return value.to_yaml()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(child) for child in value]
    return value
