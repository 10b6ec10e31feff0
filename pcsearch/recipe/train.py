"""The `train` section: how every trial of a campaign is trained."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from pcsearch.recipe.fields import (
    Count,
    NonNegative,
    OrEmpty,
    Positive,
    PositiveEpochs,
    Real,
    Section,
    SparseSection,
    Whole,
)
from pcsearch.recipe.space import MOST_EPOCHS, MOST_IMAGES

BatchSize = Annotated[Count, Field(ge=2, le=MOST_IMAGES)]
Below1 = Annotated[Real, Field(ge=0, lt=1)]
UpTo1 = Annotated[Positive, Field(le=1)]


class TrainValues(Section):
    """Settings of one training; epochs, seed, λ and label smoothing come from the campaign."""

    lr: Positive = 0.01
    batch_size: BatchSize = 32
    accumulation_steps: Annotated[Count, Field(le=10_000)] = 1
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: Below1 = 0.9
    nesterov: bool = False
    weight_decay: NonNegative = 1e-4
    head_lr_multiplier: Positive = 1.0
    schedule: Literal["linear", "poly", "cosine", "step", "constant"] = "linear"
    warmup_epochs: Annotated[NonNegative, Field(le=MOST_EPOCHS)] = 0.0
    poly_power: Annotated[Positive, Field(le=100)] = 0.5
    step_epochs: PositiveEpochs = 10.0
    step_gamma: UpTo1 = 0.1
    clip_norm: Positive | None = None
    amp: bool = True
    channels_last: bool = True  # on a CPU, convolutions run about 1.4 times as fast
    compile: bool = False
    head_only_epochs: Annotated[Whole, Field(le=MOST_EPOCHS)] = 0
    head_only_lr: Positive | None = None
    pairing: Literal["split_batch", "two_shuffles"] = "split_batch"
    variant: Literal["euclidean", "norm", "jeffreys", "entropic"] = "euclidean"


class TrainExceptions(TrainValues, SparseSection):
    """Settings of one backbone that differ from the others'."""


class TrainSection(TrainValues):
    """Settings of every training, and the exceptions of single backbones."""

    per_backbone: Annotated[dict[str, TrainExceptions], OrEmpty] = Field(default_factory=dict)

    def for_backbone(self, backbone: str) -> dict[str, Any]:
        """Every setting by name, the backbone's exceptions applied."""
        shared = {name: getattr(self, name) for name in TrainValues.model_fields}
        exceptions = self.per_backbone.get(backbone)
        return shared | (exceptions.given() if exceptions else {})
