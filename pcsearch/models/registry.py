"""Build backbones by name, give them a head for the dataset's classes, and load weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn

from pcsearch.code_consent import find_function, is_reference
from pcsearch.errors import UserError
from pcsearch.models import timm as timm_models
from pcsearch.models import torchvision as torchvision_models
from pcsearch.models.bilinear import BilinearCNN, FeatureMaps
from pcsearch.models.compact_cnn import CompactCNN
from pcsearch.models.custom import build_custom
from pcsearch.models.heads import find_head, parameter_names
from pcsearch.models.names import (
    BILINEAR,
    COMPACT,
    DEFAULT_FEATURES,
    TIMM,
    known_backbones,
    wrong_name,
    wrong_options,
)
from pcsearch.models.torchvision import Normalisation, expected_normalisation, imagenet_file
from pcsearch.models.translation import translated
from pcsearch.models.weights import (
    LoadReport,
    PublishedWeights,
    load_state,
    read_state_dict,
    read_weights,
)

__all__ = [
    "BILINEAR",
    "Backbone",
    "build_backbone",
    "check_backbone",
    "check_options",
    "known_backbones",
    "published_weights",
    "weights_normalisation",
]

_NO_OPTIONS: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True)
class Backbone:
    """A network ready for training.

    `module` turns images `[B, 3, H, W]` into logits `[B, N]`. With auxiliary heads (`aux`), its
    output in training is `(logits, [auxiliary logits, ...])`. `loading` says where its weights come
    from. `head_names` are the parameters of the re-initialised layers.
    """

    module: nn.Module
    loading: LoadReport
    head_names: tuple[str, ...] = field(repr=False)

    def head_parameters(self) -> list[nn.Parameter]:
        """Parameters of the classifier: what a classifier-only stage trains."""
        return [p for name, p in self.module.named_parameters() if name in set(self.head_names)]

    def body_parameters(self) -> list[nn.Parameter]:
        """All other parameters."""
        return [p for name, p in self.module.named_parameters() if name not in set(self.head_names)]


@dataclass(frozen=True)
class _Network:
    """A network before weights are loaded.

    `new_layers` are re-initialised. `trunk` is the prefix of a plain backbone inside the network.
    """

    module: nn.Module
    new_layers: tuple[str, ...]
    trunk: str = ""


def check_backbone(name: str) -> None:
    """Raise `UserError` unless `name` is known or is a `module:function` that can be imported."""
    if is_reference(name):
        find_function(name)
    elif wrong := wrong_name(name):
        raise UserError(wrong)


def check_options(name: str, options: Mapping[str, object]) -> None:
    """Raise `UserError` for unknown options and wrong types; a user's own backbone takes any."""
    check_backbone(name)
    if wrong := wrong_options(name, options):
        raise UserError("\n".join(wrong.values()))


def build_backbone(
    name: str,
    num_classes: int,
    *,
    weights: str = "none",
    options: Mapping[str, object] = _NO_OPTIONS,
    seed: int = 0,
) -> Backbone:
    """Build a backbone for `num_classes` classes. The same arguments give the same network.

    Args:
        name: `compact_cnn`, `bilinear_cnn`, a torchvision classifier, `timm/NAME`, or
            `module:function`, called as `function(num_classes=num_classes, **options)`.
        weights: `imagenet`, `none`, or the path of a state dict.
        options: the backbone's own (`dropout` for VGG-16, `aux` for GoogLeNet, `features` for the
            Bilinear CNN, ...).
        seed: of the start values. The global random generators do not change.

    Raises:
        UserError: unknown name or option, or weights that cannot be found, read or matched.
    """
    if num_classes < 1:
        raise UserError(f"`num_classes` is {num_classes}, but must be at least 1")
    check_options(name, options)
    source, state = _weights(name, weights, options)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = _construct(name, num_classes, options, initialise=state is None)
    module, head = network.module, _names(network)
    if state is None:
        return Backbone(module, LoadReport(source), head)
    report = load_state(module, state, head=head, source=source, trunk=network.trunk)
    return Backbone(module, report, head)


def _names(network: _Network) -> tuple[str, ...]:
    layers = network.new_layers
    return tuple(name for layer in layers for name in parameter_names(network.module, layer))


def _weights(
    name: str, weights: str, options: Mapping[str, object]
) -> tuple[str, dict[str, Tensor] | None]:
    """The weights' source and the weights. Called before building, so errors come early."""
    if weights == "none":
        return weights, None
    if weights != "imagenet":
        state, part = read_weights(weights)
        source = f"{weights} ({part})" if part else weights
        return source, dict(translated(_plain(name, options), state, source))
    if name.startswith(TIMM):
        file = timm_models.pretrained_file(name)
        return f"imagenet: {getattr(timm_models.published(name), 'file', file)}", read_state_dict(
            file
        )
    plain = _plain(name, options)
    if plain not in torchvision_models.classifier_names():
        raise UserError(
            f"weights: there are no ImageNet weights for {plain}; give `weights: none` or "
            "`weights: PATH`"
        )
    file = imagenet_file(plain)
    return f"imagenet: {Path(file).name}", read_state_dict(file)


def published_weights(
    name: str, weights: str, options: Mapping[str, object] = _NO_OPTIONS
) -> PublishedWeights | None:
    """The published weights and their licence; None without weights or for weights of a file."""
    if weights != "imagenet":
        return None
    if name.startswith(TIMM):
        return timm_models.published(name)
    plain = _plain(name, options)
    known = plain in torchvision_models.classifier_names()
    return torchvision_models.published(plain) if known else None


def weights_normalisation(
    name: str, weights: str, options: Mapping[str, object] = _NO_OPTIONS
) -> Normalisation | None:
    """The normalisation that the weights expect; None without weights or for weights of a file."""
    if weights == "imagenet" and name.startswith(TIMM):
        settings = timm_models.pretrained_settings(name)
        return None if settings is None else Normalisation(settings.mean, settings.std)
    plain = _plain(name, options)
    if weights != "imagenet" or plain not in torchvision_models.classifier_names():
        return None
    return expected_normalisation(plain)


def _plain(name: str, options: Mapping[str, object]) -> str:
    """The name of the torchvision network to which published weights belong."""
    return str(options.get("features", DEFAULT_FEATURES)) if name == BILINEAR else name


def _construct(
    name: str, num_classes: int, options: Mapping[str, object], *, initialise: bool
) -> _Network:
    if is_reference(name):
        return _custom(name, num_classes, options)
    try:
        if name == BILINEAR:
            return _bilinear(num_classes, initialise=initialise, **options)  # type: ignore[arg-type]
        if name == COMPACT:
            return _Network(CompactCNN(num_classes, **options), ("head",))  # type: ignore[arg-type]
    except ValueError as error:
        raise UserError(f"{name}: {error}") from error
    if name.startswith(TIMM):
        return _Network(*timm_models.build_classifier(name, num_classes, options))
    module, heads = torchvision_models.build_classifier(
        name, num_classes, options, initialise=initialise
    )
    return _Network(module, heads)


def _custom(name: str, num_classes: int, options: Mapping[str, object]) -> _Network:
    module = build_custom(name, num_classes, options)
    head = find_head(module)
    layer = module.get_submodule(head)
    outputs = getattr(layer, "out_features", getattr(layer, "out_channels", num_classes))
    if outputs != num_classes:
        raise UserError(
            f'backbone "{name}": its last layer, `{head}`, has {outputs} outputs, but there are '
            f"{num_classes} classes; use the argument `num_classes` (if another layer makes the "
            "logits, name that layer `head`)"
        )
    return _Network(module, (head,))


def _bilinear(
    num_classes: int,
    *,
    initialise: bool,
    features: str = DEFAULT_FEATURES,
    channels: int = 512,
) -> _Network:
    plain = _construct(features, 1, {}, initialise=initialise)
    trunk = FeatureMaps(features, plain.module, plain.new_layers[0])
    module = BilinearCNN(trunk, num_classes, channels)
    return _Network(module, ("project", "head"), trunk="trunk.layers.")
