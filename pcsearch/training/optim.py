"""Optimizers over head and body, the mean of the weights, and the stages of a training."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn, optim
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pcsearch.errors import UserError
from pcsearch.training.config import TrainConfig
from pcsearch.training.schedule import Schedule, lr_factor, schedule_of

if TYPE_CHECKING:
    from pcsearch.models import Backbone


_MULTIPLIER = "lr_multiplier"


def build_optimizer(
    backbone: Backbone, settings: TrainConfig, *, head_only: bool = False
) -> optim.Optimizer:
    """SGD or AdamW over the parameters that require gradients, at the rates of `set_lr(..., lr)`.

    The body trains at the learning rate, its lower layers at less with `layer_lr_decay`; the head
    at `head_lr_multiplier` times it. `head_only` leaves the body out and sets the multiplier to 1.
    Weight decay acts on what `weight_decay_on` says.

    Raises:
        UserError: no parameter requires a gradient.
    """
    if head_only:
        wanted = [(backbone.head_parameters(), 1.0)]
    else:
        wanted = [
            *_body_groups(backbone, settings.layer_lr_decay),
            (backbone.head_parameters(), settings.head_lr_multiplier),
        ]
    groups = [
        {"params": trained, "lr": settings.lr * multiplier, _MULTIPLIER: multiplier} | decay
        for parameters, multiplier in wanted
        for chosen, decay in _by_decay(backbone, parameters, settings)
        if (trained := _trained(chosen))
    ]
    if not groups:
        raise UserError(
            f"the backbone has no {'head ' if head_only else ''}parameter that requires a gradient,"
            " so there is nothing to train"
        )
    if settings.optimizer == "adamw":
        return optim.AdamW(groups, lr=settings.lr, weight_decay=settings.weight_decay)
    return optim.SGD(
        groups,
        lr=settings.lr,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
    )


def _body_groups(backbone: Backbone, decay: float) -> list[tuple[list[nn.Parameter], float]]:
    """The body's parameters with the multipliers of their learning rates, lowest layer first."""
    body = backbone.body_parameters()
    if decay == 1.0:
        return [(body, 1.0)]
    own = {id(parameter) for parameter in body}
    layers = [
        [parameter for parameter in layer if id(parameter) in own]
        for layer in layers_of(backbone.module)
    ]
    layers = [layer for layer in layers if layer]
    return [(layer, decay ** (len(layers) - place)) for place, layer in enumerate(layers)]


def layers_of(module: nn.Module) -> list[list[nn.Parameter]]:
    """The parameters of each layer, from the images to the logits.

    A layer is a child of the network, such as a convolution or a residual block. Containers
    (`nn.Sequential` and others) count as their children, and so does a child with more than half
    of all parameters, such as a transformer's encoder. Parameters outside all children, such as
    a class token, belong to the first layer.
    """
    half = sum(parameter.numel() for parameter in module.parameters()) / 2

    def parts(part: nn.Module, outermost: bool = False) -> Iterator[nn.Module]:
        size = sum(parameter.numel() for parameter in part.parameters())
        if any(part.children()) and (outermost or isinstance(part, _CONTAINERS) or size > half):
            for child in part.children():
                yield from parts(child)
        elif size:
            yield part

    layers = [list(part.parameters()) for part in parts(module, outermost=True)]
    inside = {id(parameter) for layer in layers for parameter in layer}
    outside = [parameter for parameter in module.parameters() if id(parameter) not in inside]
    if not layers:
        return [outside] if outside else []
    return [outside + layers[0], *layers[1:]]


_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def is_decayed(name: str, parameter: nn.Parameter) -> bool:
    """Whether `weight_decay_on: matrices` decays a parameter.

    Not: biases, weights of normalisation and other vectors; and by name, tokens, position
    embeddings and layer scales.
    """
    last = name.rpartition(".")[2]
    return parameter.ndim > 1 and last != "bias" and not _NOT_DECAYED.search(last)


_NOT_DECAYED = re.compile(r"token|pos_emb|position_bias|layer_scale")


def _by_decay(
    backbone: Backbone, parameters: Sequence[nn.Parameter], settings: TrainConfig
) -> list[tuple[Sequence[nn.Parameter], dict[str, float]]]:
    """The parameters in parts, each with what it changes about weight decay."""
    if settings.weight_decay_on == "all":
        return [(parameters, {})]
    decayed = {id(one) for name, one in backbone.module.named_parameters() if is_decayed(name, one)}
    return [
        ([one for one in parameters if id(one) in decayed], {}),
        ([one for one in parameters if id(one) not in decayed], {"weight_decay": 0.0}),
    ]


def set_lr(optimizer: optim.Optimizer, lr: float) -> None:
    """Give every group `lr` times its own multiplier."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group[_MULTIPLIER]


def trained_parameters(optimizer: optim.Optimizer) -> list[nn.Parameter]:
    """All parameters of all groups."""
    groups: list[dict[str, Any]] = optimizer.param_groups
    return [parameter for group in groups for parameter in group["params"]]


def _trained(parameters: Sequence[nn.Parameter]) -> list[nn.Parameter]:
    return [parameter for parameter in parameters if parameter.requires_grad]


def average_of(module: nn.Module, settings: TrainConfig) -> AveragedModel | None:
    """The running mean of the weights and of batch statistics; None without `ema_decay`."""
    if settings.ema_decay == 0:
        return None

    def count(averaged: Any, present: Any, updates: Any) -> None:
        decay = min(settings.ema_decay, (1 + int(updates)) / (10 + int(updates)))
        get_ema_multi_avg_fn(decay)(averaged, present, updates)  # type: ignore[no-untyped-call]

    return AveragedModel(module, multi_avg_fn=count, use_buffers=True)


@dataclass(frozen=True)
class Stage:
    """Consecutive epochs that train the same parameters under one schedule and one optimizer.

    Attributes:
        head_only: the body is frozen.
        epochs: their numbers, counting from 1 over the whole training.
        lr: learning rate where the schedule's factor is 1.
        schedule: over this stage's updates.
    """

    head_only: bool
    epochs: range
    lr: float
    schedule: Schedule

    def lr_at(self, update: int) -> float:
        """The learning rate at an update of this stage, counting from 0."""
        return self.lr * lr_factor(self.schedule, update)


def stages_of(settings: TrainConfig, updates_per_epoch: int) -> tuple[Stage, ...]:
    """The stages in order. Together they cover epochs 1 to `settings.epochs`.

    With `freeze: body` there is one, with the head's learning rate, warm-up and schedule.
    """
    if settings.freeze == "body":
        return (
            Stage(
                head_only=True,
                epochs=range(1, settings.epochs + 1),
                lr=settings.lr * settings.head_lr_multiplier,
                schedule=schedule_of(settings, settings.epochs, updates_per_epoch),
            ),
        )
    alone = settings.head_only_epochs
    remaining = settings.epochs - alone
    stages = []
    if alone:
        lr = settings.head_only_lr
        stages.append(
            Stage(
                head_only=True,
                epochs=range(1, alone + 1),
                lr=settings.lr * settings.head_lr_multiplier if lr is None else lr,
                schedule=Schedule("constant", alone * updates_per_epoch),
            )
        )
    if remaining:
        stages.append(
            Stage(
                head_only=False,
                epochs=range(alone + 1, settings.epochs + 1),
                lr=settings.lr,
                schedule=schedule_of(settings, remaining, updates_per_epoch),
            )
        )
    return tuple(stages)


@contextmanager
def frozen_body(backbone: Backbone, head_only: bool) -> Iterator[None]:
    """Within the context, no body parameter gets a gradient if `head_only`."""
    frozen = [p for p in backbone.body_parameters() if p.requires_grad] if head_only else []
    for parameter in frozen:
        parameter.requires_grad_(False)
        parameter.grad = None
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)


def set_training_mode(backbone: Backbone, head_only: bool) -> None:
    """Put the network into training mode.

    If `head_only`, the body's normalisation layers use their running statistics and do not update
    them. Dropout stays on.
    """
    backbone.module.train()
    if head_only:
        head = {id(parameter) for parameter in backbone.head_parameters()}
        for layer in backbone.module.modules():
            if _has_running_statistics(layer) and not any(
                id(p) in head for p in layer.parameters()
            ):
                layer.eval()


def _has_running_statistics(layer: nn.Module) -> bool:
    return getattr(layer, "running_mean", None) is not None
