"""Backbones: torchvision's classifiers, the Bilinear CNN, a small network for CPUs, your own."""

from __future__ import annotations

from pcsearch.models.registry import (
    Backbone,
    build_backbone,
    check_backbone,
    check_options,
    known_backbones,
    weights_normalisation,
)
from pcsearch.models.weights import LoadReport

__all__ = [
    "Backbone",
    "LoadReport",
    "build_backbone",
    "check_backbone",
    "check_options",
    "known_backbones",
    "weights_normalisation",
]
