"""Any torchvision classifier by its name, with a head for the wanted classes."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping

from torch import Tensor, nn
from torchvision import models as zoo

from pcsearch.errors import UserError
from pcsearch.models.heads import find_head, replace_layer
from pcsearch.models.options import OptionTypes

AUXILIARY: Mapping[str, tuple[str, ...]] = {
    "googlenet": ("aux1", "aux2"),
    "inception_v3": ("AuxLogits",),
}
"""Networks with auxiliary classifiers, and where these are."""

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
        # What has no default is fixed by the builder, but for the transformers' image size.
        and (parameter.default is not parameter.empty or key == "image_size")
    }
    return types | ({"aux": bool} if name in AUXILIARY else {})


def _arguments(name: str) -> Mapping[str, inspect.Parameter]:
    """Arguments of the class that the builder of `name` makes."""
    builder = inspect.unwrap(zoo.get_model_builder(name))
    return inspect.signature(typing.get_type_hints(builder)["return"]).parameters


def build_classifier(
    name: str, num_classes: int, options: Mapping[str, object], *, initialise: bool
) -> tuple[nn.Module, tuple[str, ...]]:
    """The network, unloaded, and the names of the layers that make logits.

    `initialise` False leaves out slow start values, for weights that will replace them. The two
    Inception networks' published weights expect images scaled to [-1, 1]: these networks are always
    built to rescale normalised images themselves (`transform_input`), so that a weights file means
    one function, however it came to be.

    In training, a network with the option `aux` returns `(logits, [auxiliary logits, ...])`.

    Raises:
        UserError: an option's value is impossible.
    """
    arguments: dict[str, object] = dict(options)
    aux = bool(arguments.pop("aux", False))
    if name in AUXILIARY:
        arguments = {"transform_input": True} | arguments
        arguments["aux_logits"] = aux
    if "init_weights" in _arguments(name):
        arguments["init_weights"] = initialise
    try:
        module: nn.Module = zoo.get_model(name, weights=None, progress=False, **arguments)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{name} cannot be built with the options {dict(options)}: {error}"
        ) from error
    heads = [find_head(module)]
    if aux:
        heads += [f"{part}.{find_head(module.get_submodule(part))}" for part in AUXILIARY[name]]
        module.register_forward_hook(_plain_outputs)
    for head in heads:
        replace_layer(module, head, num_classes)
    return module, tuple(heads)


def _plain_outputs(
    module: nn.Module, inputs: object, output: Tensor | tuple[Tensor, ...]
) -> Tensor | tuple[Tensor, list[Tensor]]:
    """torchvision's named tuples, one type a network, as `(logits, [auxiliary logits, ...])`."""
    return output if isinstance(output, Tensor) else (output[0], list(output[1:]))
