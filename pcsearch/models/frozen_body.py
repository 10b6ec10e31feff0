"""A network cut in two: the body, which stays as it is, and the head, which trains alone.

The cut is before the last layer. So the body's output, the features, can be computed once an image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from pcsearch.errors import UserError
from pcsearch.models.registry import Backbone

_TOLERANCE = 1e-5
"""Largest difference of logits, relative to the largest logit, at which a cut counts as exact."""


class Head(nn.Module):
    """Features `[B, ...]` to logits `[B, N]`: dropout, the last layer, and what follows it.

    The layer is the network's own, so training the head trains the network.
    """

    def __init__(self, dropout: list[nn.Module], layer: nn.Module, after: list[nn.Module]) -> None:
        super().__init__()
        self.dropout = nn.Sequential(*dropout)
        self.layer = layer
        self.after = nn.Sequential(*after)

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.after(self.layer(self.dropout(features)))
        return logits.flatten(1)


@dataclass(frozen=True)
class FrozenBody:
    """A network with a fixed body.

    Attributes:
        network: The whole network, on its device. Its body must be in evaluation mode.
        layer: The dotted name of its last layer.
        head: The head alone, as a backbone that turns features into logits.
    """

    network: nn.Module
    layer: str
    head: Backbone

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """The input of the head for images `[B, 3, H, W]`: `[B, ...]`, in the type of the network.

        The whole network passes to evaluation mode and stays in it.
        """
        self.network.eval()
        with _seen(self.network, self.layer) as (inputs, _):
            self.network(images)
        return inputs[0][0]


def freeze_body(backbone: Backbone, crop: int) -> FrozenBody:
    """Cut a network before its last layer, after a try on two random images of side `crop`.

    Dropout directly before that layer belongs to the head, so it stays random. All other dropout
    belongs to the body. The network stays in evaluation mode.

    Raises:
        UserError: several layers make the logits, or the head alone gives other logits.
    """
    network = backbone.module.eval()
    name = _only_layer(backbone)
    layer = network.get_submodule(name)
    where = next(network.parameters())
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, crop, crop, generator=generator).to(where.device)
    with torch.no_grad(), _seen(network, name) as (inputs, dropouts):
        logits = network(images)
    if len(inputs) != 1:
        raise _refusal(f"the network calls `{name}` {len(inputs)} times for a batch, not once")
    features, version = inputs[0]
    if not isinstance(features, Tensor) or len(features) != len(images):
        raise _refusal(f"the input of `{name}` is not one tensor with a row for each image")
    dropout = [
        one for one, output, then in dropouts if _is_same(one, output, features, then, version)
    ]
    head = Head(dropout, layer, _after(network, name))
    head.eval()
    with torch.no_grad():
        alone = head(features)
    if alone.shape != logits.shape or not _close(alone, logits):
        raise _refusal(
            f"the network changes what its last layer, `{name}`, returns; put all that follows "
            "the features into one module called `head`"
        )
    names = tuple(f"layer.{key}" for key, _ in layer.named_parameters())
    return FrozenBody(network, name, replace(backbone, module=head, head_names=names))


def body_hash(backbone: Backbone) -> str:
    """A hash of all tensors of the body: names, types, shapes and values."""
    digest = hashlib.sha256()
    head = set(backbone.head_names)
    for name, tensor in backbone.module.state_dict().items():
        if name not in head:
            values = tensor.detach().cpu().contiguous()
            digest.update(f"{name} {values.dtype} {list(values.shape)}".encode())
            digest.update(values.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _only_layer(backbone: Backbone) -> str:
    """The name of the module that holds all parameters of the head and no other."""
    paths = [name.split(".")[:-1] for name in backbone.head_names]
    common: list[str] = []
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    name = ".".join(common)
    inside = {key for key, _ in backbone.module.named_parameters() if key.startswith(f"{name}.")}
    if not name or inside != set(backbone.head_names):
        layers = dict.fromkeys(".".join(path) for path in paths)
        raise _refusal(f"its head is several layers ({', '.join(layers)}), not one")
    return name


def _refusal(reason: str) -> UserError:
    return UserError(
        f"train.freeze: body needs a network whose last layer alone makes the logits, but {reason}"
    )


_Inputs = list[tuple[Tensor, int]]
_Outputs = list[tuple[nn.Module, Tensor, int]]


@contextmanager
def _seen(network: nn.Module, layer: str) -> Iterator[tuple[_Inputs, _Outputs]]:
    """The layer's inputs and the outputs of dropout layers, each with its number of changes."""
    inputs: _Inputs = []
    outputs: _Outputs = []

    def before(_: nn.Module, given: tuple[Any, ...]) -> None:
        value = given[0] if given else None
        inputs.append((value, _version(value)))  # type: ignore[arg-type]

    def after(module: nn.Module, _: object, output: Tensor) -> None:
        outputs.append((module, output, _version(output)))

    hooks = [network.get_submodule(layer).register_forward_pre_hook(before)]
    hooks += [
        one.register_forward_hook(after) for one in network.modules() if isinstance(one, _DropoutNd)
    ]
    try:
        yield inputs, outputs
    finally:
        for hook in hooks:
            hook.remove()


def _version(value: object) -> int:
    if not isinstance(value, Tensor) or value.is_inference():
        return 0
    return value._version


def _is_same(dropout: nn.Module, output: Tensor, features: Tensor, then: int, version: int) -> bool:
    """Whether dropout, which changes nothing in evaluation mode, gave the head its very input."""
    alike = output.shape == features.shape and output.stride() == features.stride()
    flat = type(dropout) is nn.Dropout and output.numel() == features.numel()
    return (
        output.data_ptr() == features.data_ptr()
        and (alike or (flat and output.is_contiguous() and features.is_contiguous()))
        and then == version  # nothing was written in place between the two
    )


def _after(network: nn.Module, name: str) -> list[nn.Module]:
    """The layers that follow the last one in its `nn.Sequential`, if it is in one."""
    parent, _, own = name.rpartition(".")
    container = network.get_submodule(parent)
    if not isinstance(container, nn.Sequential):
        return []
    children = dict(container.named_children())
    return list(children.values())[list(children).index(own) + 1 :]


def _close(alone: Tensor, logits: Tensor) -> bool:
    scale = float(logits.abs().max().clamp(min=1e-12))
    return float((alone - logits).abs().max()) <= _TOLERANCE * scale


__all__ = ["FrozenBody", "Head", "body_hash", "freeze_body"]
