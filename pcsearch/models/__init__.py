"""Backbones: torchvision's classifiers, the Bilinear CNN, a small network for CPUs, your own.

`names` and `options` need no PyTorch, so the door imports the registry when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pcsearch.models.compact_cnn import CompactCNN
    from pcsearch.models.registry import (
        Backbone,
        build_backbone,
        check_backbone,
        check_options,
        known_backbones,
        published_weights,
        weights_normalisation,
    )
    from pcsearch.models.weights import LoadReport, PublishedWeights

__all__ = [
    "Backbone",
    "CompactCNN",
    "LoadReport",
    "PublishedWeights",
    "build_backbone",
    "check_backbone",
    "check_options",
    "known_backbones",
    "published_weights",
    "weights_normalisation",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pcsearch.models import compact_cnn, registry, weights

    others = {"LoadReport": weights, "PublishedWeights": weights, "CompactCNN": compact_cnn}
    return getattr(others.get(name, registry), name)
