"""One epoch of training: forward, backward, update, and nothing that makes the device wait."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, optim
from torch.nn.utils import clip_grad_norm_

from pcsearch.errors import DivergedError
from pcsearch.train.micro_batches import divided, pairs_per_part
from pcsearch.train.objective import Network, Objective
from pcsearch.train.optimizer import set_lr, trained_parameters
from pcsearch.train.precision import autocast
from pcsearch.train.settings import FitSettings
from pcsearch.train.stages import Stage


@dataclass(frozen=True)
class EpochMeans:
    """Mean loss and top-1 percent over an epoch's samples, and the last update's learning rate.

    `clipped` is the percentage of updates whose gradient was longer than `clip_norm`; None without.
    """

    loss: float
    top1: float
    lr: float
    images: int
    clipped: float | None = None


class EpochTrainer:
    """Trains the epochs of one stage.

    Args:
        network: called on images [B, 3, H, W]; the module itself or its compiled form.
        optimizer: of `build_optimizer`; its learning rates are set at each update.
        batches: how many an epoch has.
        micro_batches: parts that each batch is trained in, one after the other.
    """

    def __init__(
        self,
        network: Network,
        optimizer: optim.Optimizer,
        stage: Stage,
        settings: FitSettings,
        batches: int,
        device: torch.device,
        micro_batches: int = 1,
    ) -> None:
        self._network = network
        self._optimizer = optimizer
        self._stage = stage
        self._settings = settings
        self._device = device
        self._objective = Objective(settings)
        self._parameters = trained_parameters(optimizer)
        self._updates_per_epoch = math.ceil(batches / settings.accumulation_steps)
        self._full_group = settings.accumulation_steps * settings.batch_size
        self._pairs = pairs_per_part(settings.batch_size, micro_batches)
        self._divides = micro_batches > 1
        self._losses = torch.empty(batches, device=device)
        self._correct = torch.empty(batches, dtype=torch.int64, device=device)
        self._clipped = torch.zeros((), dtype=torch.int64, device=device)  # read once an epoch

    def train(self, batches: Iterable[tuple[Tensor, Tensor]], epoch: int) -> EpochMeans:
        """Train on the batches of `epoch`, counted over the whole training.

        With accumulation, a group's gradient is that of the mean over the images really in it, the
        last, incomplete group's too; a penalty's pairs lie within each batch. Batch normalisation's
        statistics are those of a batch, or of a micro-batch where batches are divided; the rest of
        an update is the same then, but for rounding.

        Raises:
            DivergedError: a loss is not finite; before its update on the CPU, soon after on CUDA.
        """
        group = self._settings.accumulation_steps
        every = batches_between_checks(self._device)
        sizes: list[int] = []
        self._losses.zero_()
        self._correct.zero_()
        self._clipped.zero_()
        self._optimizer.zero_grad()
        for images, labels in batches:
            self._backward(len(sizes), images, labels)
            sizes.append(len(labels))
            if len(sizes) % every == 0:
                self._check(range(len(sizes) - every, len(sizes)), epoch)
            if len(sizes) % group == 0:
                self._update(self._update_at(epoch, len(sizes) - 1), sum(sizes[-group:]))
        if left := len(sizes) % group:
            self._update(self._update_at(epoch, len(sizes) - 1), sum(sizes[-left:]))
        if left := len(sizes) % every:
            self._check(range(len(sizes) - left, len(sizes)), epoch)
        return self._means(sizes, epoch)

    def _backward(self, position: int, images: Tensor, labels: Tensor) -> None:
        """Add the gradient of one batch; note its loss and right answers, on the device."""
        accumulates = self._settings.accumulation_steps > 1
        of_group = len(labels) / self._full_group if accumulates else 1.0
        parts = divided(images, labels, self._pairs) if self._divides else [(images, labels)]
        for part_images, part_labels in parts:
            with autocast(self._device, self._settings.amp):
                output = self._network(part_images)
            loss, logits = self._objective(output, part_labels)
            of_batch = len(part_labels) / len(labels)
            self._losses[position].add_(loss.detach(), alpha=of_batch)
            self._correct[position].add_((logits.argmax(dim=1) == part_labels).sum())
            if (share := of_batch * of_group) != 1.0:
                loss = loss * share
            loss.backward()  # type: ignore[no-untyped-call]

    def _update_at(self, epoch: int, position: int) -> int:
        """The update, counted over the stage, that the epoch's batch `position` is part of."""
        before = (epoch - self._stage.epochs.start) * self._updates_per_epoch
        return before + position // self._settings.accumulation_steps

    def _update(self, update: int, images: int) -> None:
        if self._settings.accumulation_steps > 1 and images != self._full_group:
            for parameter in self._parameters:
                if parameter.grad is not None:
                    parameter.grad.mul_(self._full_group / images)
        if (most := self._settings.clip_norm) is not None:
            self._clipped.add_(clip_grad_norm_(self._parameters, most) > most)
        set_lr(self._optimizer, self._stage.lr_at(update))
        self._optimizer.step()
        self._optimizer.zero_grad()

    def _check(self, positions: range, epoch: int) -> None:
        losses = self._losses[positions.start : positions.stop].tolist()
        for position, loss in zip(positions, losses, strict=True):
            if not math.isfinite(loss):
                lr = self._stage.lr_at(self._update_at(epoch, position))
                raise DivergedError(
                    f"loss became {loss} at epoch {epoch}, step {position + 1} (lr {lr:.3g}): "
                    f"{_advice(self._settings)}"
                )

    def _means(self, sizes: list[int], epoch: int) -> EpochMeans:
        weights = torch.tensor(sizes, dtype=torch.float64)
        images = sum(sizes)
        losses = self._losses[: len(sizes)].cpu().double()
        return EpochMeans(
            loss=torch.dot(losses, weights).item() / images,
            top1=100.0 * int(self._correct[: len(sizes)].sum()) / images,
            lr=self._stage.lr_at(self._update_at(epoch, len(sizes) - 1)),
            images=images,
            clipped=self._clipped_percent(len(sizes)),
        )

    def _clipped_percent(self, batches: int) -> float | None:
        if self._settings.clip_norm is None:
            return None
        updates = math.ceil(batches / self._settings.accumulation_steps)
        return 100.0 * int(self._clipped) / updates


def batches_between_checks(device: torch.device) -> int:
    """How often the losses are looked at: on the CPU always, elsewhere rarely.

    Reading them makes a GPU wait for its queue. Once in 64 batches that costs nothing, and a
    diverged training still does not run on for an hour.
    """
    return 1 if device.type == "cpu" else 64


def _advice(settings: FitSettings) -> str:
    advice = ["lower search.lr"]
    if settings.clip_norm is None:
        advice.append("set train.clip_norm")
    if settings.variant == "jeffreys" and settings.lambda_ > 0:
        advice.append("use a much smaller search.jeffreys_lambda (this divergence has no bound)")
    return " or ".join(advice)
