"""Frozen features of a backbone, and many linear heads trained on them at once.

A head costs milliseconds where a training of the whole network costs minutes, so a λ can be tried
at many values. What that leaves out is that the body learns too: it is a prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from pcsearch.errors import UserError
from pcsearch.losses import VARIANTS, PairwiseConfusionLoss, epoch_batches
from pcsearch.models.heads import find_head

if TYPE_CHECKING:
    from pcsearch.data.loaders import EvalBatches
    from pcsearch.models import Backbone

MOMENTUM = 0.9
FEATURE_BYTES_LIMIT = 4 * 2**30
"""Larger features are refused: they must fit in memory, all images at once."""


@dataclass(frozen=True)
class FrozenFeatures:
    """What a backbone's last layer gets for each image, in evaluation mode.

    Attributes:
        values: float32 [m, D] on the CPU, one row an image.
        layer: dotted name of the layer that makes the logits.
        layer_type: its class, such as `Linear` or `Conv2d`.
        pooled: whether the layer gets maps `[C, h, w]`; then `values` are their means over
            positions, and what follows the layer (SqueezeNet's ReLU) is left out.
    """

    values: Tensor
    layer: str
    layer_type: str
    pooled: bool


@dataclass(frozen=True)
class HeadSettings:
    """How heads are trained; all of them alike, but for λ and the learning rate.

    A head is a linear layer with a bias that starts at zero. It is trained by SGD with momentum 0.9
    and without weight decay; its learning rate falls linearly to 0 over all updates.

    Attributes:
        lambdas: weights λ of the penalty; 0 is plain cross-entropy.
        rates: learning rates; every λ is trained with every one of them.
        epochs: passes over the images.
        batch_size, pairing: how batches are made up, see `pcsearch.losses.epoch_batches`.
        variant: see `pcsearch.losses.PairwiseConfusionLoss`.
    """

    lambdas: tuple[float, ...]
    rates: tuple[float, ...]
    epochs: int
    batch_size: int = 32
    pairing: str = "split_batch"
    variant: str = "euclidean"

    def __post_init__(self) -> None:
        for lambda_ in self.lambdas:  # which knows what is allowed, and says so
            PairwiseConfusionLoss(lambda_, self.variant)


def extract_features(
    backbone: Backbone,
    batches: EvalBatches,
    *,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> FrozenFeatures:
    """The input of the backbone's last layer for every image of `batches`, in their order.

    The network runs in evaluation mode and is left in it. `progress` is told of images done and of
    all images.

    Raises:
        UserError: the layer gets something else than one vector or one stack of maps an image;
            features that are not finite, or too large for memory.
    """
    module = backbone.module.to(device).eval()
    name = find_head(module)
    layer = module.get_submodule(name)
    seen: list[object] = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    values = torch.empty(0)
    done = 0
    try:
        with torch.no_grad():
            for images, _ in batches:
                seen.clear()
                module(images)
                part, pooled = _vectors(seen, len(images), name)
                if done == 0:
                    values = _room(batches.num_images, part.shape[1], name)
                values[done : done + len(part)] = part
                done += len(part)
                progress(done, batches.num_images)
    finally:
        hook.remove()
    if done == 0:
        raise UserError("there are no images to take features of")
    if not torch.isfinite(values).all():
        raise UserError(f"the input of `{name}` is not finite: its weights are broken")
    return FrozenFeatures(values, name, type(layer).__name__, pooled)


def _vectors(seen: Sequence[object], images: int, layer: str) -> tuple[Tensor, bool]:
    """One vector [D] an image of what the layer got, and whether maps were averaged for that."""
    problem = f"frozen features are the input of the last layer, `{layer}`, but "
    if len(seen) != 1:
        raise UserError(f"{problem}the network calls it {len(seen)} times for a batch, not once")
    (value,) = seen
    if not isinstance(value, Tensor):
        raise UserError(f"{problem}that is a {type(value).__name__}, not a tensor")
    if value.ndim not in (2, 4) or len(value) != images:
        raise UserError(
            f"{problem}that has the shape {list(value.shape)} for {images} images; it must be "
            "[B, D] or [B, C, h, w]"
        )
    return (value.float(), False) if value.ndim == 2 else (value.float().mean((2, 3)), True)


def _room(images: int, dimensions: int, layer: str) -> Tensor:
    size = 4 * images * dimensions
    if size > FEATURE_BYTES_LIMIT:
        raise UserError(
            f"the input of `{layer}` has {dimensions:,} numbers an image, {size / 2**30:.1f} GiB "
            f"for {images:,} images, but at most {FEATURE_BYTES_LIMIT / 2**30:g} GiB are held; "
            "take fewer data.classes, or a network with fewer features (bilinear_cnn: fewer "
            "`channels`)"
        )
    return torch.empty(images, dimensions)


def rotated(values: Tensor) -> Tensor:
    """[m, D] to [m, min(m, D)] with the same distances, by the principal axes where D > m.

    Heads that start at zero stay in the span of the features, and SGD does not see a rotation: they
    predict the same on the shorter vectors, but for rounding.
    """
    if values.shape[1] <= len(values):
        return values
    wide = values.double()
    eigenvalues, vectors = torch.linalg.eigh(wide @ wide.T)
    shorter: Tensor = vectors * eigenvalues.clamp(min=0).sqrt()
    return shorter.float()


def scaled(values: Tensor, fit: Tensor) -> Tensor:
    """Features [m, D] whose rows `fit` have the mean 0 and the mean squared length 1.

    So one set of learning rates serves every network. Neither labels nor other rows are used.
    """
    chosen = values[fit]
    centre = chosen.mean(0)
    length = (chosen - centre).square().sum(1).mean().sqrt()
    return (values - centre) / length.clamp(min=torch.finfo(values.dtype).tiny)


def train_heads(
    features: Tensor, labels: Tensor, num_classes: int, settings: HeadSettings, seed: int
) -> Tensor:
    """Heads [L, R, D + 1, N], the bias last, of L λs with R learning rates each.

    All of them see the same batches and are trained as one problem: logits of all heads are one
    matrix product, and the gradient of the summed losses is that of each head alone.

    Args:
        features: [n, D] of the images to train on.
        labels: [n] int64.
        num_classes: N.
        settings: see there.
        seed: of the batches, the only thing that is random.
    """
    shape = (len(settings.lambdas), len(settings.rates))
    heads = shape[0] * shape[1]
    inputs = _with_bias(features)
    weights = inputs.new_zeros(inputs.shape[1], heads * num_classes).requires_grad_()
    rates = inputs.new_tensor(settings.rates).repeat(shape[0]).repeat_interleave(num_classes)
    lambdas = inputs.new_tensor(settings.lambdas).repeat_interleave(shape[1])
    generator = torch.Generator()
    generator.manual_seed(seed)
    batches = [
        batch
        for _ in range(settings.epochs)
        for batch in epoch_batches(len(inputs), settings.batch_size, settings.pairing, generator)
    ]
    momentum = torch.zeros_like(weights)
    for step, batch in enumerate(batches):
        logits = (inputs[batch] @ weights).view(len(batch), heads, num_classes)
        loss = _summed_loss(logits, labels[batch], lambdas, settings)
        (gradient,) = torch.autograd.grad(loss, weights)
        momentum.mul_(MOMENTUM).add_(gradient)
        with torch.no_grad():
            weights.addcmul_(momentum, rates, value=step / len(batches) - 1)
    trained = weights.detach().view(-1, heads, num_classes).transpose(0, 1)
    return trained.reshape(*shape, -1, num_classes)


def _summed_loss(logits: Tensor, labels: Tensor, lambdas: Tensor, settings: HeadSettings) -> Tensor:
    """The losses of all heads [B, H, N] added up. Heads with λ = 0 have no penalty, not 0 of it."""
    batch, heads, num_classes = logits.shape
    cross_entropy = F.cross_entropy(
        logits.reshape(-1, num_classes),
        labels.repeat_interleave(heads),
        reduction="sum",
    )
    loss = cross_entropy / batch
    penalised = lambdas > 0
    if penalised.any():
        penalty = torch.vmap(VARIANTS[settings.variant], in_dims=(1, None))
        loss = loss + torch.dot(lambdas[penalised], penalty(logits[:, penalised], labels))
    return loss


def correct_predictions(heads: Tensor, features: Tensor, labels: Tensor) -> Tensor:
    """Which images each head names right: bool [L, R, n]. A head that diverged names none."""
    logits = torch.einsum("nd,lrdc->lrnc", _with_bias(features), heads)
    finite = logits.isfinite().all(dim=-1)
    correct: Tensor = (logits.argmax(dim=-1) == labels) & finite
    return correct


def _with_bias(features: Tensor) -> Tensor:
    """[n, D] with a column of ones behind: [n, D + 1]."""
    return F.pad(features, (0, 1), value=1.0)


__all__ = [
    "FrozenFeatures",
    "HeadSettings",
    "correct_predictions",
    "extract_features",
    "rotated",
    "scaled",
    "train_heads",
]
