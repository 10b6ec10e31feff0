"""Single-crop evaluation of a network."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pcsearch.errors import DivergedError
from pcsearch.losses.divergences import at_least_float32
from pcsearch.training.config import AmpName
from pcsearch.training.metrics import METRICS, Evaluation, Predictions
from pcsearch.training.precision import autocast

__all__ = ["Evaluation", "evaluate"]


@torch.no_grad()
def evaluate(
    module: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    num_classes: int,
    device: torch.device | str,
    amp: AmpName = True,
) -> Evaluation:
    """Measure `module` on all of `batches`; see `METRICS` for the measures.

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
    answers, predicted, in_top5, nll, confidence = (
        torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True)
    )
    if not np.isfinite(nll).all() or not np.isfinite(confidence).all():
        raise DivergedError(
            "the network's outputs on the evaluation images are not finite: the training has "
            "diverged. Lower the learning rate (search.lr) or set train.clip_norm"
        )
    predictions = Predictions(
        answers,
        predicted,
        in_top5,
        nll.astype(np.float64),
        confidence.astype(np.float64),
        num_classes,
    )
    return Evaluation(
        values={name: metric.measure(predictions) for name, metric in METRICS.items()},
        images=len(answers),
        hits=base64.b64encode(np.packbits(predictions.hits).tobytes()).decode(),
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
