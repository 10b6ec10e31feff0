"""The training objective of a network with or without auxiliary heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor
from torch.nn import functional as F

from pcsearch.confusion import PairwiseConfusionLoss
from pcsearch.confusion.precision import at_least_float32
from pcsearch.train.settings import FitSettings

AUXILIARY_WEIGHT = 0.3  # GoogLeNet's own weight for its auxiliary classifiers

NetworkOutput = Tensor | tuple[Tensor, Sequence[Tensor]]
Network = Callable[[Tensor], NetworkOutput]


class Objective:
    """The loss of `settings` on what a network returns: logits, or (logits, [auxiliary logits]).

    Pairwise Confusion acts on the main logits. Each auxiliary head adds 0.3 times its
    cross-entropy, with the same label smoothing.
    """

    def __init__(self, settings: FitSettings) -> None:
        self._criterion = PairwiseConfusionLoss(
            lambda_=settings.lambda_,
            variant=settings.variant,
            label_smoothing=settings.label_smoothing,
        )
        self._label_smoothing = settings.label_smoothing

    def __call__(self, output: NetworkOutput, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The scalar loss, and the main logits [B, N] without their graph."""
        auxiliaries: Sequence[Tensor] = ()
        if not isinstance(output, Tensor):
            output, auxiliaries = output
        loss: Tensor = self._criterion(at_least_float32(output), labels)
        for logits in auxiliaries:
            loss = loss + AUXILIARY_WEIGHT * F.cross_entropy(
                at_least_float32(logits), labels, label_smoothing=self._label_smoothing
            )
        return loss, output.detach()
