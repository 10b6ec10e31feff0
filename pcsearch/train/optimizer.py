"""Optimizers over two parameter groups, head and body."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import nn, optim

from pcsearch.errors import UserError
from pcsearch.train.settings import FitSettings

if TYPE_CHECKING:
    from pcsearch.models import Backbone

_MULTIPLIER = "lr_multiplier"


def build_optimizer(
    backbone: Backbone, settings: FitSettings, *, head_only: bool = False
) -> optim.Optimizer:
    """SGD or AdamW over the parameters that require gradients, at the rates of `set_lr(..., lr)`.

    The body's group trains at the learning rate, the head's at `head_lr_multiplier` times it;
    head_only leaves the body out and the multiplier at 1. Weight decay acts on every parameter of
    both groups, biases and normalisation weights included: none is exempt.

    Raises:
        UserError: when no parameter requires a gradient.
    """
    if head_only:
        wanted = [(backbone.head_parameters(), 1.0)]
    else:
        wanted = [
            (backbone.body_parameters(), 1.0),
            (backbone.head_parameters(), settings.head_lr_multiplier),
        ]
    groups = [
        {"params": trained, "lr": settings.lr * multiplier, _MULTIPLIER: multiplier}
        for parameters, multiplier in wanted
        if (trained := _trained(parameters))
    ]
    if not groups:
        raise UserError(
            f"the backbone has no {'head ' if head_only else ''}parameter that requires a gradient:"
            " there is nothing to train"
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
