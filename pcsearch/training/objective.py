"""The loss of a training: classification, auxiliary heads, penalty, or a loss of the user's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from pcsearch.code_consent import find_function
from pcsearch.errors import TrialError, UserError
from pcsearch.losses import VARIANTS, classification_loss
from pcsearch.losses.divergences import at_least_float32
from pcsearch.losses.pairwise_confusion import check_variant
from pcsearch.training.class_weights import numbers_of
from pcsearch.training.config import OwnLoss, TrainConfig

_AUXILIARY_WEIGHT = 0.3  # GoogLeNet's own weight for its auxiliary classifiers

NetworkOutput = Tensor | tuple[Tensor, Sequence[Tensor]]
Network = Callable[[Tensor], NetworkOutput]


class Objective:
    """The loss of `settings` on what a network returns: logits, or (logits, [auxiliary logits]).

    The penalty acts on the main logits. Each auxiliary head adds 0.3 times its classification loss.
    Class weights act in the classification losses, not in the penalty.

    Raises:
        UserError: the variant does not exist; class weights are not yet numbers; a loss of the
            user's own is not allowed, or is no function.
    """

    def __init__(self, settings: TrainConfig) -> None:
        check_variant(settings.variant)
        self._settings = settings
        self._weights: Tensor | None = None
        if settings.class_weights != "none":
            self._weights = torch.tensor(numbers_of(settings), dtype=torch.float64)
        own = settings.own_loss
        self._own = None if own is None else _Own(own)

    def __call__(
        self, output: NetworkOutput, labels: Tensor, share: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """The scalar loss, and the main logits [B, N] without their graph.

        Args:
            output: What the network returned for a batch of B images.
            labels: [B], or [B, 2] for mixed images (see `pcsearch.training.mixing`).
            share: The share of the first label of mixed images.

        Raises:
            TrialError: a loss of the user's own does not return a finite scalar with a gradient.
        """
        auxiliaries: Sequence[Tensor] = ()
        if not isinstance(output, Tensor):
            output, auxiliaries = output
        logits = at_least_float32(output)
        targets = labels if labels.dim() == 1 else mixed_targets(labels, share, logits)
        loss = (
            self._classification(logits, targets)
            if self._own is None
            else self._own(logits, targets)
        )
        if (weight := self._settings.lambda_) != 0:
            loss = loss + weight * VARIANTS[self._settings.variant](logits, targets)
        for auxiliary in auxiliaries:
            side = self._classification(at_least_float32(auxiliary), targets)
            loss = loss + _AUXILIARY_WEIGHT * side
        return loss, output.detach()

    def _classification(self, logits: Tensor, targets: Tensor) -> Tensor:
        if self._weights is not None:
            self._weights = self._weights.to(logits)  # a GPU gets them once
        return classification_loss(
            logits,
            targets,
            label_smoothing=self._settings.label_smoothing,
            focal_gamma=self._settings.focal_gamma,
            logit_norm=self._settings.logit_norm,
            class_weights=self._weights,
        )


def mixed_targets(labels: Tensor, share: float, logits: Tensor) -> Tensor:
    """Probabilities [B, N] of mixed images with labels [B, 2], in the type of logits [B, N]."""
    first, second = (
        F.one_hot(side, logits.shape[1]).to(logits.dtype) for side in labels.unbind(dim=1)
    )
    return share * first + (1 - share) * second


_LONGEST = 300
"""Characters of the text of an exception in a message."""


def _short(error: BaseException) -> str:
    line = str(error).strip().partition("\n")[0]
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "…"


class _Own:
    """A checked call of the user's own loss function."""

    def __init__(self, loss: OwnLoss) -> None:
        self._name = loss.reference
        self._function = find_function(loss.reference)
        if inspect.isclass(self._function):
            raise UserError(f'the loss "{loss.reference}" is a class; name a function')
        self._values = dict(loss.values)

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        before = logits._version, labels._version
        values = ", ".join(f"{name}={value!r}" for name, value in self._values.items())
        call = f'the loss "{self._name}", called as (logits, labels, {values})'
        try:
            loss = self._function(logits, labels, **self._values)
        except (Exception, SystemExit) as error:
            raise TrialError(f"{call}, raised {type(error).__name__}: {_short(error)}") from error
        if not isinstance(loss, Tensor):
            raise TrialError(f"{call}, returned a {type(loss).__name__}, not a tensor")
        if loss.shape != torch.Size([]):
            raise TrialError(
                f"{call}, returned a tensor of shape {list(loss.shape)}, but must return a scalar: "
                "take its mean"
            )
        if loss.device != logits.device:
            raise TrialError(
                f"{call}, returned a tensor on {loss.device}, but the logits are on {logits.device}"
            )
        if not loss.is_floating_point() or (logits.requires_grad and not loss.requires_grad):
            raise TrialError(f"{call}, returned a tensor without a gradient for the logits")
        if (logits._version, labels._version) != before:
            raise TrialError(f"{call}, changed logits or labels in place; work on a copy")
        return loss
