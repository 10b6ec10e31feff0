"""What one training does, apart from its data and its network."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args, get_type_hints

from pcsearch.errors import UserError, did_you_mean

OptimizerName = Literal["sgd", "adamw"]
ScheduleName = Literal["linear", "poly", "cosine", "step", "constant"]
AmpName = Literal[True, False, "cpu", "auto"]
PairingName = Literal["split_batch", "two_shuffles", "between_classes"]
SamplingName = Literal["uniform", "balanced"]
ClassWeights = Literal["none", "balanced"] | tuple[tuple[str, float], ...] | tuple[float, ...]
DecayedName = Literal["all", "matrices"]
FreezeName = Literal["none", "body"]
VariantName = Literal["euclidean", "norm", "jeffreys", "entropic", "logit_margin", "poly1"]

# Far beyond useful values, so that no recipe fills the memory.
LARGEST, LARGEST_WHOLE = 1e6, 10**6
MOST_EPOCHS = 10_000
MOST_IMAGES = 100_000
"""Largest batch."""


@dataclass(frozen=True)
class Limits:
    """The numbers that a setting can be: from `low` to `high`, without an end that is open."""

    low: float = 0.0
    high: float = LARGEST
    low_open: bool = False
    high_open: bool = False

    def admit(self, value: float) -> bool:
        """Whether the value is finite and within the limits."""
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return math.isfinite(value) and above and below

    @property
    def text(self) -> str:
        """The limits in words."""
        low = f"{'greater than' if self.low_open else 'at least'} {self.low:g}"
        if self.high == math.inf:
            return f"a finite number, {low}"
        return f"{low} and {'less than' if self.high_open else 'at most'} {self.high:,.10g}"


NOT_NEGATIVE = Limits()


def _number(default: float | None, **limits: Any) -> Any:
    """A setting with a default and limits."""
    return field(default=default, metadata={"limits": Limits(**limits)})


def _above_0(default: float | None, most: float = LARGEST) -> Any:
    return _number(default, low_open=True, high=most)


@dataclass(frozen=True)
class OwnLoss:
    """A loss function of the user's own, `module:function`, and the values of its parameters."""

    reference: str
    values: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class TrainConfig:
    """The hyperparameters of one training. A checkpoint made with others is refused.

    A recipe's `train` section takes every field but `SET_BY_CAMPAIGN`, with these defaults and
    limits.

    Attributes:
        epochs: passes over the training images, including the classifier-only ones.
        seed: seeds everything random in training (dropout; order, crops and flips of the data).
        lr: learning rate of the body where the schedule's factor is 1.
        batch_size: images in a batch (a micro-batch when accumulating). Pairs stay within it.
        accumulation_steps: batches whose gradients are averaged, per image, into one update.
        momentum, nesterov: of SGD. AdamW keeps its usual betas (0.9, 0.999).
        weight_decay: SGD adds it to the gradient; in AdamW it is decoupled.
        weight_decay_on: "all" trained parameters, including biases and normalisation, as in the
            paper; or "matrices": see `pcsearch.training.optim.is_decayed`.
        layer_lr_decay: learning rate of a layer divided by that of the next one, from the head
            down; 1 for one rate in the whole body. See `pcsearch.training.optim.layers_of`.
        ema_decay: share of the old value in a running mean of all weights, updated at each step.
            The mean is what is evaluated and kept. 0 for none. After n updates the share is at
            most (1 + n) / (10 + n), so that the start is soon forgotten (as in TensorFlow).
        head_lr_multiplier: the head's learning rate divided by the body's.
        schedule: see `pcsearch.training.schedule`. `poly_power` belongs to "poly"; `step_epochs`
            and `step_gamma` belong to "step".
        warmup_epochs: linear warm-up, after the classifier-only stage.
        clip_norm: largest L2 norm of the gradient of all trained parameters together.
        amp: bfloat16 autocast: True on CUDA, "cpu" on CUDA and on CPUs. "auto" stands for one of
            them; a campaign measures which (see `with_precision`).
        channels_last: keep the network's weights in that memory format.
        compile: train through `torch.compile`.
        freeze: "body" trains the head alone to the end, on features that are computed once: see
            `pcsearch.models.frozen_body`. The body is in evaluation mode.
        head_only_epochs: first epochs, which train the head alone. The body and its BatchNorm
            statistics are frozen.
        head_only_lr: the constant learning rate of those epochs (None: lr × head_lr_multiplier).
        pairing: how an epoch's batches are drawn (see `pcsearch.losses.PAIRINGS`).
        sampling: "uniform": an epoch shows every image once (or as often as the pairing does).
            "balanced": it shows as many images, and each class equally often.
        class_weights: "none"; or "balanced" or pairs of a class and its weight (a mapping becomes
            these), which `pcsearch.training.class_weights` turns into a number for each class.
        variant, lambda_: see `pcsearch.losses.PairwiseConfusionLoss`.
        label_smoothing, focal_gamma, logit_norm: see `pcsearch.losses.classification_loss`.
        mixup, cutmix: α of the Beta distribution of the mixing share; 0 for none. See
            `pcsearch.training.mixing`.
        sam_rho: ρ of sharpness-aware minimisation, the L2 length of its step uphill; 0 for none.
            See `pcsearch.training.sam`.
        own_loss: a loss of the user's own, in place of the classification loss.

    Raises:
        UserError: a value is out of range; the text names each one on its own line.
    """

    epochs: int = field(metadata={"limits": Limits(low=1, high=MOST_EPOCHS)})
    seed: int = field(metadata={"limits": Limits(high=math.inf)})
    lr: float = _above_0(0.01)
    batch_size: int = _number(32, low=1, high=MOST_IMAGES)
    accumulation_steps: int = _number(1, low=1, high=10_000)
    optimizer: OptimizerName = "sgd"
    momentum: float = _number(0.9, high=1, high_open=True)
    nesterov: bool = False
    weight_decay: float = _number(1e-4)
    weight_decay_on: DecayedName = "all"
    layer_lr_decay: float = _above_0(1.0, most=1)
    head_lr_multiplier: float = _above_0(1.0)
    schedule: ScheduleName = "linear"
    warmup_epochs: float = _number(0.0, high=MOST_EPOCHS)
    poly_power: float = _above_0(0.5, most=100)
    step_epochs: float = _above_0(10.0, most=MOST_EPOCHS)
    step_gamma: float = _above_0(0.1, most=1)
    clip_norm: float | None = _above_0(None)
    ema_decay: float = _number(0.0, high=1, high_open=True)
    amp: AmpName = True
    channels_last: bool = True  # on a CPU, convolutions run about 1.4 times as fast
    compile: bool = False
    freeze: FreezeName = "none"
    head_only_epochs: int = _number(0, high=MOST_EPOCHS)
    head_only_lr: float | None = _above_0(None)
    pairing: PairingName = "split_batch"
    sampling: SamplingName = "uniform"
    class_weights: ClassWeights = "none"
    variant: VariantName = "euclidean"
    lambda_: float = _number(0.0, high=math.inf)
    label_smoothing: float = _number(0.0, high=1)
    focal_gamma: float = _number(0.0, high=100)
    logit_norm: float = _number(0.0)
    mixup: float = _number(0.0, high=100)
    cutmix: float = _number(0.0, high=100)
    sam_rho: float = _number(0.0, high=100)
    own_loss: OwnLoss | None = None

    def __post_init__(self) -> None:
        if isinstance(self.class_weights, Mapping):
            object.__setattr__(self, "class_weights", tuple(sorted(self.class_weights.items())))
        problems = [
            *_out_of_range(self),
            *_wrong_class_weights(self.class_weights),
            *_unknown_names(self),
        ]
        if not problems:  # _contradictions compares values, so they must be in range first
            problems = list(_contradictions(self))
        if problems:
            raise UserError("\n".join(problems))


WEIGHT_LIMITS = Limits(low_open=True)
"""Of the weight of a class."""
UNFROZEN: dict[str, tuple[float, str]] = {
    "mixup": (0, "features of mixed images cannot be computed once"),
    "cutmix": (0, "features of mixed images cannot be computed once"),
    "head_only_epochs": (0, "the head trains alone to the end"),
    "layer_lr_decay": (1, "no layer but the head trains"),
}
"""Settings that `freeze: body` does not take: the value that it needs, and why."""


SET_BY_CAMPAIGN = ("epochs", "seed", "lambda_", "own_loss")
"""Fields that no recipe states for all trainings."""


LIMITS: dict[str, Limits] = {
    one.name: one.metadata["limits"] for one in fields(TrainConfig) if "limits" in one.metadata
}
"""The limits of every setting that is a number."""


def with_precision(settings: TrainConfig, bfloat16: bool | None) -> TrainConfig:
    """`settings` with `amp: auto` resolved: bfloat16 on CPUs, or on CUDA alone."""
    if settings.amp != "auto":
        return settings
    return replace(settings, amp="cpu" if bfloat16 else True)


def recipe_settings() -> dict[str, tuple[Any, Any]]:
    """Type and default of every setting that a recipe's `train` section takes, by name."""
    types = get_type_hints(TrainConfig)
    return {
        one.name: (types[one.name], one.default)
        for one in fields(TrainConfig)
        if one.name not in SET_BY_CAMPAIGN
    }


def _out_of_range(settings: TrainConfig) -> Iterator[str]:
    for name, limits in LIMITS.items():
        value = getattr(settings, name)
        if value is not None and not limits.admit(value):
            yield f"{name} is {value}, but must be {limits.text}"


def _wrong_class_weights(stated: ClassWeights) -> Iterator[str]:
    if isinstance(stated, str):
        if stated not in ("none", "balanced"):
            yield f'class_weights is "{stated}", but must be none, balanced or weights by class'
        return
    if not stated:
        yield "class_weights is empty, but must be none, balanced or weights by class"
    for one in stated:
        weight = one[1] if isinstance(one, tuple) else one
        if not WEIGHT_LIMITS.admit(weight):
            yield f"class_weights has {weight}, but a weight must be {WEIGHT_LIMITS.text}"


def _unknown_names(settings: TrainConfig) -> Iterator[str]:
    named = (
        ("optimizer", OptimizerName),
        ("schedule", ScheduleName),
        ("weight_decay_on", DecayedName),
        ("sampling", SamplingName),
        ("freeze", FreezeName),
    )
    for key, choices in named:
        known = get_args(choices)
        value = getattr(settings, key)
        if value not in known:
            yield (
                f'unknown {key} "{value}"{did_you_mean(str(value), known)} '
                f"(known: {', '.join(known)})"
            )


def _contradictions(settings: TrainConfig) -> Iterator[str]:
    if settings.nesterov and (settings.optimizer != "sgd" or settings.momentum == 0):
        yield 'nesterov needs optimizer "sgd" and a momentum greater than 0'
    if settings.own_loss is not None and (settings.mixup or settings.cutmix):
        yield "mixup and cutmix give each image two labels, which own_loss does not take"
    if settings.own_loss is not None and settings.class_weights != "none":
        yield "class_weights act in the classification loss, in whose place own_loss is"
    if settings.sampling == settings.class_weights == "balanced":
        yield (
            'sampling and class_weights are both "balanced", which would count rare classes twice: '
            "choose one"
        )
    if settings.freeze == "body":
        for name, (off, reason) in UNFROZEN.items():
            if (value := getattr(settings, name)) != off:
                yield f"{name} is {value:g}, but freeze is body, and {reason}"
    remaining = settings.epochs - settings.head_only_epochs
    if remaining < 0:
        yield (
            f"head_only_epochs is {settings.head_only_epochs}, but training has only "
            f"{settings.epochs} epochs"
        )
    elif settings.warmup_epochs and settings.warmup_epochs >= remaining:
        yield (
            f"warmup_epochs is {settings.warmup_epochs}, but must be less than the {remaining} "
            "epochs that train all parameters"
        )
