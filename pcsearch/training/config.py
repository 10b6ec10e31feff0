"""What one training does, apart from its data and its network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from pcsearch.errors import UserError, did_you_mean

_OptimizerName = Literal["sgd", "adamw"]
ScheduleName = Literal["linear", "poly", "cosine", "step", "constant"]

_AT_LEAST_ONE = ("epochs", "batch_size", "accumulation_steps")
_POSITIVE = ("lr", "head_lr_multiplier", "poly_power", "step_epochs", "step_gamma")
_POSITIVE_OR_NONE = ("clip_norm", "head_only_lr")
_NOT_NEGATIVE = ("seed", "weight_decay", "warmup_epochs", "head_only_epochs", "lambda_")


@dataclass(frozen=True)
class FitSettings:
    """The hyperparameters of one training. A checkpoint made with others is refused.

    Attributes:
        epochs: passes over the training images, including the classifier-only ones.
        seed: seeds everything random in training (dropout; order, crops and flips of the data).
        lr: learning rate of the body where the schedule's factor is 1.
        batch_size: images in a batch (a micro-batch when accumulating). Pairs stay within it.
        accumulation_steps: batches whose gradients are averaged, per image, into one update.
        momentum, nesterov: of SGD. AdamW keeps its usual betas (0.9, 0.999).
        weight_decay: acts on every trained parameter, including biases and normalisation. SGD adds
            it to the gradient; in AdamW it is decoupled.
        head_lr_multiplier: the head's learning rate divided by the body's.
        schedule: see `pcsearch.training.schedule`. `poly_power` belongs to "poly"; `step_epochs`
            and `step_gamma` belong to "step".
        warmup_epochs: linear warm-up, after the classifier-only stage.
        clip_norm: largest L2 norm of the gradient of all trained parameters together.
        amp: bfloat16 autocast, on CUDA only.
        channels_last: keep the network's weights in that memory format.
        compile: train through `torch.compile`.
        head_only_epochs: first epochs, which train the head alone. The body and its BatchNorm
            statistics are frozen.
        head_only_lr: the constant learning rate of those epochs (None: lr × head_lr_multiplier).
        pairing: how an epoch's batches are drawn ("split_batch" or "two_shuffles").
        variant, lambda_, label_smoothing: see `pcsearch.losses.PairwiseConfusionLoss`.

    Raises:
        UserError: a value is out of range; the text names each one on its own line.
    """

    epochs: int
    seed: int
    lr: float
    batch_size: int = 32
    accumulation_steps: int = 1
    optimizer: _OptimizerName = "sgd"
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    head_lr_multiplier: float = 1.0
    schedule: ScheduleName = "linear"
    warmup_epochs: float = 0.0
    poly_power: float = 0.5
    step_epochs: float = 10.0
    step_gamma: float = 0.1
    clip_norm: float | None = None
    amp: bool = True
    channels_last: bool = False
    compile: bool = False
    head_only_epochs: int = 0
    head_only_lr: float | None = None
    pairing: str = "split_batch"
    variant: str = "euclidean"
    lambda_: float = 0.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        problems = [*_out_of_range(self), *_unknown_names(self)]
        if not problems:  # _contradictions compares values, so they must be in range first
            problems = list(_contradictions(self))
        if problems:
            raise UserError("\n".join(problems))


def _out_of_range(settings: FitSettings) -> Iterator[str]:
    for name in (*_AT_LEAST_ONE, *_POSITIVE, *_POSITIVE_OR_NONE, *_NOT_NEGATIVE):
        value = getattr(settings, name)
        if value is None and name in _POSITIVE_OR_NONE:
            continue
        if name in _AT_LEAST_ONE:
            fine, wanted = value >= 1, "at least 1"
        elif name in _NOT_NEGATIVE:
            fine, wanted = value >= 0, "0 or more"
        else:
            fine, wanted = value > 0, "greater than 0"
        if not (fine and math.isfinite(value)):
            yield f"{name} is {value}, but must be a finite number, {wanted}"
    if not 0 <= settings.momentum < 1:
        yield f"momentum is {settings.momentum}, but must be at least 0 and less than 1"
    if not 0 <= settings.label_smoothing <= 1:
        yield f"label_smoothing is {settings.label_smoothing}, but must be from 0 to 1"


def _unknown_names(settings: FitSettings) -> Iterator[str]:
    for key, choices in (("optimizer", _OptimizerName), ("schedule", ScheduleName)):
        known = get_args(choices)
        value = getattr(settings, key)
        if value not in known:
            yield (
                f'unknown {key} "{value}"{did_you_mean(str(value), known)} '
                f"(known: {', '.join(known)})"
            )


def _contradictions(settings: FitSettings) -> Iterator[str]:
    if settings.nesterov and (settings.optimizer != "sgd" or settings.momentum == 0):
        yield 'nesterov needs optimizer "sgd" and a momentum greater than 0'
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
