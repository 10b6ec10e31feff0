"""Single-crop evaluation of a network."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pcsearch.errors import DivergedError
from pcsearch.losses.divergences import at_least_float32
from pcsearch.training.metrics import Evaluation
from pcsearch.training.precision import autocast

if TYPE_CHECKING:
    from pcsearch.data.loaders import EvalBatches

_CALIBRATION_BINS = 15

__all__ = ["Evaluation", "evaluate"]


@torch.no_grad()
def evaluate(
    module: nn.Module,
    batches: EvalBatches,
    num_classes: int,
    device: torch.device | str,
    amp: bool = True,
) -> Evaluation:
    """Measure `module` on all of `batches`; see `Evaluation` for the measures.

    The module runs in evaluation mode, and its modes are restored afterwards. Sums are in float64.
    Nothing is copied from the device before the last batch.

    Raises:
        DivergedError: an output is not finite; a diverged network never gets a score.
        ValueError: `batches` has no image.
    """
    parts: list[tuple[Tensor, ...]] = []
    with _evaluation_mode(module):
        for images, labels in batches:
            with autocast(device, amp):
                logits = module(images)
            parts.append(_per_image(at_least_float32(logits), labels, num_classes))
    if not parts:
        raise ValueError("there are no images to evaluate on")
    labels, predicted, in_top5, nll, confidence = (
        torch.cat(column).cpu() for column in zip(*parts, strict=True)
    )
    mean_nll = nll.double().mean().item()
    if not torch.isfinite(nll).all() or not torch.isfinite(confidence).all():
        raise DivergedError(
            "the network's outputs on the evaluation images are not finite: the training has "
            "diverged. Lower the learning rate (search.lr) or set train.clip_norm"
        )
    correct = predicted == labels
    return Evaluation(
        top1=_percent(correct),
        mean_class_top1=_mean_class_percent(correct, labels, num_classes),
        top5=_percent(in_top5),
        nll=mean_nll,
        ece=_calibration_error_percent(confidence, correct),
        images=len(labels),
        hits=base64.b64encode(np.packbits(correct.numpy()).tobytes()).decode(),
    )


def _per_image(logits: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, ...]:
    """Label, prediction, whether in the top 5, NLL and confidence of each image, all [B]."""
    log_probabilities = F.log_softmax(logits, dim=1)
    # taken from the same ranking as the top 5, so that a tie cannot put the prediction outside it
    likeliest = log_probabilities.topk(min(5, num_classes), dim=1).indices
    return (
        labels,
        likeliest[:, 0],
        (likeliest == labels[:, None]).any(dim=1),
        F.nll_loss(log_probabilities, labels, reduction="none"),
        log_probabilities.amax(dim=1).exp(),
    )


def _percent(hits: Tensor) -> float:
    return 100.0 * hits.double().mean().item()


def _mean_class_percent(correct: Tensor, labels: Tensor, num_classes: int) -> float:
    images = torch.bincount(labels, minlength=num_classes).double()
    hits = torch.bincount(labels, weights=correct.double(), minlength=num_classes)
    present = images > 0
    return 100.0 * (hits[present] / images[present]).mean().item()


def _calibration_error_percent(confidence: Tensor, correct: Tensor) -> float:
    """Σ_b (n_b / n)·|accuracy_b − confidence_b| = Σ_b |Σ in b of (correct − confidence)| / n."""
    inner_edges = torch.arange(1, _CALIBRATION_BINS, dtype=torch.float64) / _CALIBRATION_BINS
    bins = torch.bucketize(confidence.double(), inner_edges)  # bin b is (b/15, (b+1)/15]
    gap = correct.double() - confidence.double()
    per_bin = torch.bincount(bins, weights=gap, minlength=_CALIBRATION_BINS)
    return 100.0 * per_bin.abs().sum().item() / len(confidence)


@contextmanager
def _evaluation_mode(module: nn.Module) -> Iterator[None]:
    modes = [(layer, layer.training) for layer in module.modules()]
    module.eval()
    try:
        yield
    finally:
        # call train(), do not set the attribute: traced networks exchange their graph in it
        for layer, was in modes:  # parents first: their train() also sets their children
            if layer.training != was:
                layer.train(was)
