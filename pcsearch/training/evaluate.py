"""Single-crop evaluation of a network."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pcsearch.errors import DivergedError
from pcsearch.losses.divergences import at_least_float32
from pcsearch.training.config import AmpName
from pcsearch.training.metrics import METRICS, Evaluation, Predictions
from pcsearch.training.precision import autocast
from pcsearch.training.predictions_file import LOWEST

if TYPE_CHECKING:
    pass

__all__ = ["Answers", "Evaluation", "evaluate", "evaluate_and_keep"]


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
    return _measured(module, batches, num_classes, device, amp, None)[0]


@dataclass(frozen=True)
class Answers:
    """A network's answers to I images, to be kept in a file.

    Attributes:
        labels: [I] correct class.
        predicted: [I] likeliest class.
        log_probabilities: [I, N] in nats.
    """

    labels: npt.NDArray[np.int32]
    predicted: npt.NDArray[np.int32]
    log_probabilities: npt.NDArray[np.float16]


@torch.no_grad()
def evaluate_and_keep(
    module: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    num_classes: int,
    device: torch.device | str,
    amp: AmpName = True,
) -> tuple[Evaluation, Answers]:
    """`evaluate`, with the answers to each image. These take 2·I·N bytes on the device."""
    kept: list[Tensor] = []
    evaluation, found = _measured(module, batches, num_classes, device, amp, kept)
    return evaluation, Answers(
        found.labels.astype(np.int32),
        found.predicted.astype(np.int32),
        torch.cat(kept).cpu().numpy(),
    )


def _measured(
    module: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    num_classes: int,
    device: torch.device | str,
    amp: AmpName,
    kept: list[Tensor] | None,
) -> tuple[Evaluation, Predictions]:
    """See `evaluate`. Each batch's log-probabilities are appended to `kept`."""
    parts: list[tuple[Tensor, ...]] = []
    with _evaluation_mode(module):
        for images, labels in batches:
            with autocast(device, amp):
                logits = module(images)
            log_probabilities = F.log_softmax(at_least_float32(logits), dim=1)
            parts.append(_per_image(log_probabilities, labels, num_classes))
            if kept is not None:
                kept.append(log_probabilities.clamp(min=LOWEST).half())
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
    evaluation = Evaluation(
        values={name: metric.measure(predictions) for name, metric in METRICS.items()},
        images=len(answers),
        hits=base64.b64encode(np.packbits(predictions.hits).tobytes()).decode(),
    )
    return evaluation, predictions


def _per_image(log_probabilities: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, ...]:
    """Label, prediction, whether in the top 5, NLL and confidence of each image, all [B]."""
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
