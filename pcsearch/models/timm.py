"""Any classifier of timm by its name, `timm/NAME` or `timm/NAME.TAG`, and timm's published weights.

timm comes with the extra `timm`. The tag names a set of weights; without weights it has no effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from torch import nn

from pcsearch.errors import UserError
from pcsearch.models.download import NotFetchedError, hub_file, not_cached, url_file
from pcsearch.models.heads import parameter_names
from pcsearch.models.names import TIMM
from pcsearch.models.weights import PublishedWeights


def build_classifier(
    name: str, num_classes: int, options: Mapping[str, object]
) -> tuple[nn.Module, tuple[str, ...]]:
    """The network with random weights, and the names of the layers that make logits.

    Raises:
        UserError: the network has no classifier, or an option's value is impossible.
    """
    import timm

    arguments: dict[str, Any] = {**options, "num_classes": num_classes}
    try:
        module: nn.Module = timm.create_model(name.removeprefix(TIMM), **arguments)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"{name} cannot be built with the options {dict(options)}: {reason}"
        ) from error
    heads = _settings_of(module).get("classifier") or ()
    names = (heads,) if isinstance(heads, str) else tuple(heads)
    if not names or not all(parameter_names(module, head) for head in names):
        raise UserError(f"{name} has no classifier, so it cannot be fine-tuned to classes")
    return module, names


def _settings_of(module: nn.Module) -> Mapping[str, Any]:
    found: Mapping[str, Any] = getattr(module, "pretrained_cfg", {})
    return found


def pretrained_file(name: str) -> Path:
    """Path of timm's weights of `name`, downloaded if they are not in the cache.

    Raises:
        UserError: there are none, they must be asked for, or they cannot be downloaded.
    """
    settings = pretrained_settings(name)
    if settings is None or not (settings.hf_hub_id or settings.url):
        raise UserError(
            f"weights: there are no published weights for {name}; name a tag, as in "
            f"{TIMM}resnet50.a1_in1k, or give `weights: none` or `weights: PATH`"
        )
    if settings.hf_hub_id:
        file = str(settings.hf_hub_filename or "model.safetensors")
        return hub_file(str(settings.hf_hub_id), file)
    try:
        return url_file(str(settings.url))
    except NotFetchedError as error:
        raise UserError(not_cached(name, str(settings.url), error)) from error


def published(name: str) -> PublishedWeights | None:
    """The weights of `name`; None if there are none."""
    settings = pretrained_settings(name)
    if settings is None or not (settings.hf_hub_id or settings.url):
        return None
    file = settings.hf_hub_id or Path(urlparse(settings.url).path).name
    return PublishedWeights(file, "timm", settings.license, settings.origin_url)


def pretrained_settings(name: str) -> Any:
    """What timm says of the weights of `name`: mean, std, license, ...; None if there are none."""
    import timm

    return timm.get_pretrained_cfg(name.removeprefix(TIMM))
