"""Sharpness-aware minimisation: the gradient is taken at a point uphill from the weights.

Foret, Kleiner, Mobahi, Neyshabur, "Sharpness-Aware Minimization for Efficiently Improving
Generalization", ICLR 2021, Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def uphill(parameters: Sequence[nn.Parameter], rho: float, *modules: object) -> Iterator[None]:
    """Move the parameters by ρ along their gradient, for as long as the block lasts.

    The gradients are cleared at its begin. At its end, the parameters have their old values, and
    the gradients taken in the block. Batch normalisation's running statistics stay as they are, so
    that each image counts once.

    Args:
        parameters: With the gradients at their present values.
        rho: The L2 length of the move, over all parameters together. A gradient of 0 moves nothing.
        modules: Networks whose batch normalisation must not count the block's batches.
    """
    moved = [parameter for parameter in parameters if parameter.grad is not None]
    before = [parameter.detach().clone() for parameter in moved]
    with torch.no_grad():
        norms = [torch.linalg.vector_norm(parameter.grad) for parameter in moved]
        length = torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros(())
        scale = torch.where(length > 0, rho / length.clamp_min(1e-12), 0.0)
        for parameter in moved:
            parameter.add_(parameter.grad * scale)  # type: ignore[operator]
            parameter.grad = None
    try:
        with _statistics_kept(modules):
            yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(moved, before, strict=True):
                parameter.copy_(value)


@contextmanager
def _statistics_kept(modules: Sequence[object]) -> Iterator[None]:
    layers = [
        layer
        for module in modules
        if isinstance(module, nn.Module)
        for layer in module.modules()
        if isinstance(layer, _BatchNorm) and layer.track_running_stats
    ]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True
