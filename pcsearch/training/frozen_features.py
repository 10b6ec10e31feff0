"""Frozen features of a backbone, and many linear heads trained on them at once.

A head costs milliseconds, a training of the whole network costs minutes. So many values of λ can
be tried. The result is only a prediction: in a real training the body learns too.
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
"""Larger features are refused: those of all images must fit in memory at once."""


@dataclass(frozen=True)
class FrozenFeatures:
    """The input of a backbone's last layer for each image, in evaluation mode.

    Attributes:
        values: float32 [m, D] on the CPU, one row an image.
        layer: dotted name of the layer that makes the logits.
        layer_type: its class, such as `Linear` or `Conv2d`.
        pooled: whether the layer gets maps `[C, h, w]`. Then `values` are their means over
            positions, and layers after it (SqueezeNet's ReLU) are left out.
    """

    values: Tensor
    layer: str
    layer_type: str
    pooled: bool


@dataclass(frozen=True)
class HeadSettings:
    """How heads are trained. They differ only in λ and the learning rate.

    A head is a linear layer with a bias; all its values start at zero. It is trained by SGD with
    momentum 0.9 and no weight decay. Its learning rate falls linearly to 0 over all updates.

    Attributes:
        lambdas: weights λ of the penalty; 0 is plain cross-entropy.
        rates: learning rates; every λ is trained with each of them.
        epochs: passes over the images.
        batch_size, pairing: how batches are drawn, see `pcsearch.losses.epoch_batches`.
        variant: see `pcsearch.losses.PairwiseConfusionLoss`.
    """

    lambdas: tuple[float, ...]
    rates: tuple[float, ...]
    epochs: int
    batch_size: int = 32
    pairing: str = "split_batch"
    variant: str = "euclidean"

    def __post_init__(self) -> None:
        for lambda_ in self.lambdas:  # the loss checks λ and the variant, and raises UserError
            PairwiseConfusionLoss(lambda_, self.variant)


def extract_features(
    backbone: Backbone,
    batches: EvalBatches,
    *,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> FrozenFeatures:
    """The input of the backbone's last layer for every image of `batches`, in their order.

    The network runs in evaluation mode and stays in it. `progress` gets the number of images done
    and the number of all images.

    Raises:
        UserError: the layer's input is not one vector or one stack of maps an image; or features
            are not finite, or too large for memory.
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
        raise UserError("there are no images to extract features from")
    if not torch.isfinite(values).all():
        raise UserError(
            f"the input of `{name}` is not finite: the network's weights are broken; use other "
            "weights"
        )
    return FrozenFeatures(values, name, type(layer).__name__, pooled)


def _vectors(seen: Sequence[object], images: int, layer: str) -> tuple[Tensor, bool]:
    """One vector [D] an image from the layer's input, and whether maps were averaged for it."""
    problem = f"frozen features are the input of the last layer, `{layer}`, but "
    if len(seen) != 1:
        raise UserError(f"{problem}the network calls it {len(seen)} times for a batch, not once")
    (value,) = seen
    if not isinstance(value, Tensor):
        raise UserError(f"{problem}that input is a {type(value).__name__}, not a tensor")
    if value.ndim not in (2, 4) or len(value) != images:
        raise UserError(
            f"{problem}that input has the shape {list(value.shape)} for {images} images; it must "
            "be [B, D] or [B, C, h, w]"
        )
    return (value.float(), False) if value.ndim == 2 else (value.float().mean((2, 3)), True)


def _room(images: int, dimensions: int, layer: str) -> Tensor:
    size = 4 * images * dimensions
    if size > FEATURE_BYTES_LIMIT:
        raise UserError(
            f"the input of `{layer}` has {dimensions:,} numbers an image, {size / 2**30:.1f} GiB "
            f"for {images:,} images; the limit is {FEATURE_BYTES_LIMIT / 2**30:g} GiB. Take fewer "
            "data.classes, or a network with fewer features (bilinear_cnn: fewer `channels`)"
        )
    return torch.empty(images, dimensions)


def rotated(values: Tensor) -> Tensor:
    """[m, D] to [m, min(m, D)] with the same distances, along the principal axes if D > m.

    Heads that start at zero stay in the span of the features, and SGD is invariant to a rotation.
    So heads predict the same on the shorter vectors, except for rounding.
    """
    if values.shape[1] <= len(values):
        return values
    wide = values.double()
    eigenvalues, vectors = torch.linalg.eigh(wide @ wide.T)
    shorter: Tensor = vectors * eigenvalues.clamp(min=0).sqrt()
    return shorter.float()


def scaled(values: Tensor, fit: Tensor) -> Tensor:
    """Features [m, D], shifted and scaled: the rows `fit` get mean 0 and mean squared length 1.

    So one set of learning rates serves every network. Labels and other rows are not used.
    """
    chosen = values[fit]
    centre = chosen.mean(0)
    length = (chosen - centre).square().sum(1).mean().sqrt()
    return (values - centre) / length.clamp(min=torch.finfo(values.dtype).tiny)


def train_heads(
    features: Tensor, labels: Tensor, num_classes: int, settings: HeadSettings, seed: int
) -> Tensor:
    """Train heads for L λs with R learning rates each: [L, R, D + 1, N], the bias last.

    All heads see the same batches and are trained as one problem. One matrix product gives the
    logits of all heads, and the summed losses give each head the gradient of its own loss.

    Args:
        features: [n, D] of the images to train on.
        labels: [n] int64.
        num_classes: N.
        settings: λs, learning rates and how to train.
        seed: of the batches; nothing else is random.
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
        for batch in epoch_batches(
            len(inputs), settings.batch_size, settings.pairing, generator, labels
        )
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
    """The sum of all heads' losses, from logits [B, H, N]. λ = 0 skips the penalty."""
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
    """Which images each head classifies correctly: bool [L, R, n]; none for one that diverged."""
    logits = torch.einsum("nd,lrdc->lrnc", _with_bias(features), heads)
    finite = logits.isfinite().all(dim=-1)
    correct: Tensor = (logits.argmax(dim=-1) == labels) & finite
    return correct


def _with_bias(features: Tensor) -> Tensor:
    """Append a column of ones to [n, D]: [n, D + 1]."""
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
