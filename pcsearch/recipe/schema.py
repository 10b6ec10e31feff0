"""The recipe: what a campaign searches, on which images, with which budget."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from pcsearch.recipe import yaml_core
from pcsearch.recipe.arms import Arm
from pcsearch.recipe.fields import FolderName, OrEmpty, Section, SomeNames, SparseSection, expanded
from pcsearch.recipe.searching import SearchSection
from pcsearch.recipe.sections import (
    AshaSection,
    BudgetSection,
    ConfirmSection,
    DataSection,
    FinalistsSection,
    ImageSection,
    ResourcesSection,
)
from pcsearch.recipe.show import show
from pcsearch.recipe.space import Space
from pcsearch.recipe.train import TrainSection

NO_IMAGENET = ("compact_cnn",)
"""Backbones that nobody has trained on ImageNet."""


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
    metric: Literal["top1", "mean_class_top1"] = "top1"
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
        data = {key: {} if key in SECTIONS and data[key] is None else data[key] for key in data}
        data.setdefault("asha", {})  # so that the message names the key that is missing
        train, search = data.get("train"), data.get("search", {})
        if isinstance(train, dict) and "lr" in train and isinstance(search, dict):
            # a stated learning rate is meant: it is searched only where `search` says so
            data["search"] = {"lr": None} | search
        return data

    @property
    def confirm_epochs(self) -> int:
        """Epochs of a training of the confirm phase."""
        return self.confirm.epochs or self.asha.max_epochs

    def train_for(self, backbone: str) -> dict[str, Any]:
        """The `train` settings of a backbone, its exceptions applied."""
        return self.train.for_backbone(backbone)

    def space_for(self, backbone: str, arm: str | Arm) -> dict[str, Space]:
        """The search dimensions of an arm, in the order in which they are sampled."""
        return self.search.space_for(backbone, arm)

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
        return self.image.model_copy(update={**changes, "per_dataset": {}})

    def to_mapping(self) -> dict[str, Any]:
        """Plain data with every key, as a recipe file writes it."""
        plain = _plain(self)
        assert isinstance(plain, dict)
        return plain

    def dump_yaml(self) -> str:
        """A recipe file with every key; loading it gives an equal recipe."""
        return yaml_core.dump(self.to_mapping())


SECTIONS = tuple(
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
