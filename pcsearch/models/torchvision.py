"""Any torchvision classifier by its name, and torchvision's published ImageNet weights."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pcsearch.errors import UserError
from pcsearch.models.download import NotFetchedError, cache_path, not_cached, url_file
from pcsearch.models.heads import find_head, replace_layer
from pcsearch.models.options import OptionTypes
from pcsearch.models.torchvision_import import zoo
from pcsearch.models.weights import PublishedWeights

_AUXILIARY: Mapping[str, tuple[str, ...]] = {
    "googlenet": ("aux1", "aux2"),
    "inception_v3": ("AuxLogits",),
}
"""Networks with auxiliary classifiers, and the names of these."""

_OURS = {"num_classes", "init_weights", "aux_logits"}


def classifier_names() -> tuple[str, ...]:
    """Names of torchvision's image classifiers, sorted."""
    return tuple(zoo.list_models(module=zoo))


def option_types(name: str) -> OptionTypes:
    """The scalar arguments of the network's class that its builder leaves open, and `aux`.

    Raises:
        KeyError: `name` is not one of `classifier_names()`.
    """
    if name not in classifier_names():
        raise KeyError(name)
    types = {
        key: parameter.annotation
        for key, parameter in _arguments(name).items()
        if parameter.annotation in (bool, int, float)
        and key not in _OURS
        # The builder fixes every argument without a default, except the transformers' image size.
        and (parameter.default is not parameter.empty or key == "image_size")
    }
    return types | ({"aux": bool} if name in _AUXILIARY else {})


def _arguments(name: str) -> Mapping[str, inspect.Parameter]:
    """Arguments of the class that the builder of `name` instantiates."""
    builder = inspect.unwrap(zoo.get_model_builder(name))
    return inspect.signature(typing.get_type_hints(builder)["return"]).parameters


def build_classifier(
    name: str, num_classes: int, options: Mapping[str, object], *, initialise: bool
) -> tuple[nn.Module, tuple[str, ...]]:
    """The network without loaded weights, and the names of the layers that make logits.

    `initialise=False` skips slow initial values, for a network whose weights are loaded later.

    Published weights of GoogLeNet and Inception v3 expect images scaled to [-1, 1]. So these two
    networks always rescale normalised images themselves (`transform_input`). Then a weights file
    always means the same function.

    In training, a network with the option `aux` returns `(logits, [auxiliary logits, ...])`.

    Raises:
        UserError: an option's value is impossible.
    """
    arguments = builder_arguments(name, options, initialise=initialise)
    aux = bool(options.get("aux", False))
    try:
        module: nn.Module = zoo.get_model(name, weights=None, progress=False, **arguments)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{name} cannot be built with the options {dict(options)}: {error}"
        ) from error
    heads = [find_head(module)]
    if aux:
        heads += [f"{part}.{find_head(module.get_submodule(part))}" for part in _AUXILIARY[name]]
        module.register_forward_hook(_plain_outputs)
    for head in heads:
        replace_layer(module, head, num_classes)
    return module, tuple(heads)


def builder_arguments(
    name: str, options: Mapping[str, object], *, initialise: bool = False
) -> dict[str, object]:
    """What `torchvision.models.get_model(name, ...)` gets besides `num_classes`."""
    arguments: dict[str, object] = dict(options)
    aux = bool(arguments.pop("aux", False))
    if name in _AUXILIARY:
        arguments = {"transform_input": True} | arguments
        arguments["aux_logits"] = aux
    if "init_weights" in _arguments(name):
        arguments["init_weights"] = initialise
    return arguments


def _plain_outputs(
    module: nn.Module, inputs: object, output: Tensor | tuple[Tensor, ...]
) -> Tensor | tuple[Tensor, list[Tensor]]:
    """Turn torchvision's named tuples into `(logits, [auxiliary logits, ...])`."""
    return output if isinstance(output, Tensor) else (output[0], list(output[1:]))


_PREFERRED = ("IMAGENET1K_V1", "IMAGENET1K_SWAG_LINEAR_V1")
"""The original recipe's weights come first: published comparisons use them. `_V2` weights were
trained with strong regularisation, which would confound a comparison of regularisers."""


def imagenet_file(name: str) -> Path:
    """Path of the ImageNet weights of torchvision's `name`, downloaded if they are not cached.

    The cache is torchvision's: `torch.hub.get_dir()/checkpoints` (see `TORCH_HOME`).

    Raises:
        UserError: the file is not cached and cannot be downloaded; the text names its path.
    """
    url = _entry(name).url
    try:
        return url_file(url)
    except NotFetchedError as error:
        raise UserError(not_cached(name, url, error)) from error


def cached_file(name: str) -> Path:
    """Path at which torchvision caches the ImageNet weights of `name`; it may not exist."""
    return cache_path(_entry(name).url)


def published(name: str) -> PublishedWeights:
    """The ImageNet weights of torchvision's `name`. It states licences for few of them."""
    meta = _entry(name).meta
    return PublishedWeights(
        cached_file(name).name, "torchvision", meta.get("license"), meta.get("recipe")
    )


@dataclass(frozen=True)
class Normalisation:
    """Means and standard deviations of red, green and blue that normalise an image."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def expected_normalisation(name: str) -> Normalisation:
    """The normalisation that torchvision states for its ImageNet weights of `name`."""
    transforms = _entry(name).transforms()
    return Normalisation(tuple(transforms.mean), tuple(transforms.std))


def _entry(name: str) -> Any:
    entries = {entry.name: entry for entry in zoo.get_model_weights(name)}
    chosen = next((key for key in _PREFERRED if key in entries), None)
    return entries[chosen] if chosen else zoo.get_model_weights(name).DEFAULT
