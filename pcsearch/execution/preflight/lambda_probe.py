"""λ curves of a recipe on frozen features. Does not decode test images."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from pcsearch.code_consent import is_reference
from pcsearch.data.cache import default_cache_folder
from pcsearch.data.loaders import EvalBatches
from pcsearch.errors import UserError
from pcsearch.execution.preflight.datasets import (
    PreparedDataset,
    PrepareProgress,
    open_datasets,
    prepare_datasets,
    preprocessing_for,
    split_of,
)
from pcsearch.execution.preflight.model_check import check_networks
from pcsearch.models import Backbone, build_backbone
from pcsearch.recipe.schema import Recipe
from pcsearch.reporting.lambda_curve import (
    CurvePoint,
    FeatureFacts,
    LambdaCurve,
    curve_points,
    image_weights,
)
from pcsearch.search.plan import derive_seed
from pcsearch.search.verdicts.power import FEW_VALIDATION_IMAGES
from pcsearch.training.frozen_features import (
    FrozenFeatures,
    HeadSettings,
    correct_predictions,
    extract_features,
    rotated,
    scaled,
    train_heads,
)

FRACTIONS = (0.0, *(float(f"{value:.3g}") for value in np.geomspace(0.005, 0.5, 12)))
"""Default λ/N: plain cross-entropy, and 12 values, each 1.52 times the one before."""

RATES = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Learning rates of a head, on features of mean squared length 1. Each λ tries all of them."""

EPOCHS = 15
REPEATS = 8
_IMAGES_AT_ONCE = 16  # their activations fit in a CPU's cache


def probe_recipe(
    recipe: Recipe,
    fractions: Sequence[float] = FRACTIONS,
    repeats: int = REPEATS,
    progress: PrepareProgress = lambda what, done, total: None,
) -> tuple[LambdaCurve, ...]:
    """A curve for each dataset and backbone of a recipe; see `pcsearch.api.probe`."""
    values = _checked(fractions, repeats)
    opened = open_datasets(recipe)
    check_networks(recipe)
    prepared = prepare_datasets(recipe, opened, default_cache_folder(), progress, needs_test=False)
    return tuple(
        _curve(recipe, dataset, backbone, values, repeats, progress)
        for dataset in prepared
        for backbone in recipe.backbones
    )


def _checked(fractions: Sequence[float], repeats: int) -> tuple[float, ...]:
    for value in fractions:
        if not (math.isfinite(value) and value >= 0):
            raise UserError(f"λ/N is {value:g}, but must be a finite number of at least 0")
    if repeats < 2:
        raise UserError(
            f"repeats is {repeats}, but must be at least 2: one repeat gives no error estimate"
        )
    return tuple(sorted({0.0, *fractions}))


def _curve(
    recipe: Recipe,
    dataset: PreparedDataset,
    name: str,
    fractions: tuple[float, ...],
    repeats: int,
    progress: PrepareProgress,
) -> LambdaCurve:
    facts = dataset.facts
    study = f"{facts.dataset}/{name}"
    began = time.perf_counter()
    backbone = build_backbone(
        name,
        facts.num_classes,
        weights=recipe.weights_for(name),
        options=recipe.options_for(name),
        seed=derive_seed(recipe.search.seed, "probe", study),
    )
    train = recipe.train_for(name)
    features = _features(
        recipe,
        dataset,
        backbone,
        lambda *numbers: progress(f"{study} features", *numbers),
        channels_last=bool(train["channels_last"]),
    )
    between = time.perf_counter()
    settings = HeadSettings(
        lambdas=tuple(fraction * facts.num_classes for fraction in fractions),
        rates=RATES,
        epochs=EPOCHS,
        **{key: train[key] for key in ("batch_size", "pairing", "variant")},
    )
    points = _points(recipe, dataset, features, settings, fractions, repeats, study, progress)
    given = dataset.training.given_val is not None
    return LambdaCurve(
        study=study,
        num_classes=facts.num_classes,
        fit_images=facts.images.fit,
        val_images=facts.images.val,
        repeats=repeats,
        given_split=given,
        metric=recipe.metric,
        variant=settings.variant,
        pairing=settings.pairing,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        features=FeatureFacts(
            features.layer,
            features.layer_type,
            features.pooled,
            features.values.shape[1],
            backbone.loading.source,
        ),
        points=points,
        notes=_notes(recipe, name, backbone, dataset, given=given),
        feature_seconds=between - began,
        head_seconds=time.perf_counter() - between,
    )


def _features(
    recipe: Recipe,
    dataset: PreparedDataset,
    backbone: Backbone,
    progress: Callable[[int, int], None],
    *,
    channels_last: bool,
) -> FrozenFeatures:
    """Features of all training images, cropped at the centre."""
    training = dataset.training
    batches = EvalBatches(
        training.store.images,
        training.labels,
        None,
        preprocessing_for(recipe, dataset.facts.dataset),
        batch_size=_IMAGES_AT_ONCE,
        device="cpu",
        channels_last=channels_last,
    )
    if channels_last:
        backbone.module.to(memory_format=torch.channels_last)
    return extract_features(backbone, batches, progress=progress)


def _points(
    recipe: Recipe,
    dataset: PreparedDataset,
    features: FrozenFeatures,
    settings: HeadSettings,
    fractions: tuple[float, ...],
    repeats: int,
    study: str,
    progress: PrepareProgress,
) -> tuple[CurvePoint, ...]:
    """Train and validate all heads, one split after another."""
    training, facts = dataset.training, dataset.facts
    values = rotated(features.values)
    labels = torch.from_numpy(training.labels)
    hits, weights = [], []
    for repeat in range(repeats):
        progress(f"{study} heads", repeat, repeats)
        split = split_of(recipe, training, repeat)
        fit, val = torch.from_numpy(split.fit), torch.from_numpy(split.val)
        inputs = scaled(values, fit)
        seed = derive_seed(recipe.search.seed, "probe", study, repeat)
        heads = train_heads(inputs[fit], labels[fit], facts.num_classes, settings, seed)
        hits.append(correct_predictions(heads, inputs[val], labels[val]).numpy())
        weights.append(image_weights(training.labels[split.val], recipe.metric))
    progress(f"{study} heads", repeats, repeats)
    return curve_points(
        fractions,
        facts.num_classes,
        settings.rates,
        hits,
        weights,
        given_split=training.given_val is not None,
        val_per_fit=facts.images.val / facts.images.fit,
    )


def _notes(
    recipe: Recipe, name: str, backbone: Backbone, dataset: PreparedDataset, *, given: bool
) -> tuple[str, ...]:
    """Limits of a curve, a sentence each."""
    facts = dataset.facts
    lines = [*facts.images.left_out(), *facts.images.leaked(facts.dataset)]
    head = set(backbone.head_names)
    missing = [key for key in backbone.loading.missing if key not in head]
    if recipe.weights_for(name) == "none":
        unless = " unless its function loads some" if is_reference(name) else ""
        lines.append(
            f"{name} has no weights (weights: none): its features are random{unless}, so they "
            "predict little about training."
        )
    elif missing:
        lines.append(
            f"{len(missing)} tensors of the body are not in {backbone.loading.source} and are "
            f"random ({missing[0]}, ...)."
        )
    if any(key.startswith("project.") for key in head):
        lines.append(f"{name}: the projection to fewer channels is new, so it is random here.")
    if 0 < facts.images.val < FEW_VALIDATION_IMAGES:
        one = 100 / facts.images.val
        lines.append(
            f"There are only {facts.images.val} validation images: one is {one:.1f} points, so the "
            "curve means almost nothing."
        )
    if given:
        lines.append(
            "The validation images are given, so repeats differ only in their seed; errors are "
            "over these images."
        )
    return tuple(lines)
