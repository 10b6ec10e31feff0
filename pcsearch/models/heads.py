"""The last layer of a classifier: find it, replace it, and try it with a forward pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pcsearch.errors import UserError

_HEAD_ATTRIBUTES = ("head", "heads", "fc", "classifier")
"""Names under which networks keep their classifier, in the order of the search."""


def find_head(module: nn.Module) -> str:
    """Dotted name of the layer that makes the logits.

    The search takes the first of `_HEAD_ATTRIBUTES` that has parameters, else the whole network.
    The head is the last `nn.Linear` in it. Without one, it is the last 1x1 convolution
    (SqueezeNet). An attribute with neither (a cosine classifier) is the head itself.

    Raises:
        UserError: the network has no such layer.
    """
    for attribute in _HEAD_ATTRIBUTES:
        child = dict(module.named_children()).get(attribute)
        if child is not None and next(child.parameters(), None) is not None:
            inner = _last_layer(child)
            return attribute if not inner else f"{attribute}.{inner}"
    name = _last_layer(module)
    if not name:
        raise UserError(
            f"{type(module).__name__} has no recognisable classifier: name its last layer `head`, "
            "`fc` or `classifier`"
        )
    return name


def _last_layer(module: nn.Module) -> str | None:
    """Dotted name inside `module`; an empty string is `module` itself; None if there is none."""
    linear = [name for name, layer in module.named_modules() if isinstance(layer, nn.Linear)]
    pointwise = [name for name, layer in module.named_modules() if _is_pointwise(layer)]
    found = linear or pointwise
    return found[-1] if found else None


def _is_pointwise(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1)


def replace_layer(module: nn.Module, name: str, num_classes: int) -> None:
    """Put a fresh linear layer or 1x1 convolution with `num_classes` outputs in place of `name`.

    Linear layers start as `nn.Linear` does. Convolutions start as SqueezeNet's: weights from
    N(0, 0.01), biases at zero.

    Raises:
        UserError: the layer is neither linear nor a convolution.
    """
    old = module.get_submodule(name)
    bias = getattr(old, "bias", None) is not None
    new: nn.Linear | nn.Conv2d
    if isinstance(old, nn.Linear):
        new = nn.Linear(old.in_features, num_classes, bias=bias)
    elif isinstance(old, nn.Conv2d):
        new = nn.Conv2d(old.in_channels, num_classes, kernel_size=1, bias=bias)
        nn.init.normal_(new.weight, std=0.01)
        if new.bias is not None:
            nn.init.zeros_(new.bias)
    else:
        raise UserError(
            f"cannot replace the classifier `{name}`, a {type(old).__name__}: it must be an "
            "nn.Linear or an nn.Conv2d"
        )
    parent, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(parent), leaf, new)


def parameter_names(module: nn.Module, layer: str) -> tuple[str, ...]:
    """Full names of the parameters in the layer called `layer`."""
    return tuple(f"{layer}.{name}" for name, _ in module.get_submodule(layer).named_parameters())


IMAGES = 2


def failed_pass(module: nn.Module, num_classes: int, crop: int, *, training: bool) -> str | None:
    """Why black images `[2, 3, crop, crop]` give no logits `[2, num_classes]`, in one line.

    None if they do. With `training`, `(logits, [auxiliary logits, ...])` is accepted too. The
    module stays in that mode. In training mode its batch normalisation statistics change. The
    global random generators do not change.
    """
    module.train(training)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            output: object = module(torch.zeros(IMAGES, 3, crop, crop))
    except Exception as error:  # a network may raise anything
        reason = str(error).strip().partition("\n")[0]
        return f"{type(error).__name__}: {reason}" if reason else type(error).__name__
    if training and isinstance(output, tuple) and len(output) == 2:
        output = output[0]
    wanted = [IMAGES, num_classes]
    if not isinstance(output, Tensor):
        return f"its output is a {type(output).__name__}, but must be logits {wanted}"
    if list(output.shape) != wanted:
        return f"its output has the shape {list(output.shape)}, but must be logits {wanted}"
    return None
