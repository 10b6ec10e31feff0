"""Backbones and weights, checked before anything starts."""

from __future__ import annotations

from pcsearch.recipe.schema import Recipe

_OURS = ("compact_cnn", "vgg16", "googlenet", "resnet50", "densenet161", "bilinear_cnn")


def check_networks(recipe: Recipe) -> None:
    """Build every network once, with its weights and options, so that mistakes show up early.

    One of ours without weights or options cannot be wrong, and need not load torch here.

    Raises:
        UserError: an unknown backbone or option; weights that are missing or do not fit.
    """
    for backbone in recipe.backbones:
        weights = recipe.weights_for(backbone)
        plain = backbone in _OURS and weights == "none"
        if plain and not recipe.options_for(backbone):
            continue
        from pcsearch.models.backbones import build_backbone

        # The head is replaced in any case: 2 classes will do.
        build_backbone(backbone, 2, weights=weights, options=recipe.options_for(backbone))
