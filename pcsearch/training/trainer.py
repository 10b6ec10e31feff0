"""The training of one configuration, epoch by epoch: forward, backward, update."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn, optim
from torch.nn.utils import clip_grad_norm_
from torch.optim.swa_utils import AveragedModel

from pcsearch.errors import DivergedError
from pcsearch.training.checkpoints import Checkpoint, Checkpoints, Identity, identity_of
from pcsearch.training.config import TrainConfig
from pcsearch.training.failures import explain_failures
from pcsearch.training.memory import divided, pairs_per_part
from pcsearch.training.metrics import EpochRecord, Evaluation
from pcsearch.training.mixing import mixed
from pcsearch.training.objective import Network, Objective
from pcsearch.training.optim import (
    Stage,
    average_of,
    build_optimizer,
    frozen_body,
    set_lr,
    set_training_mode,
    stages_of,
    trained_parameters,
)
from pcsearch.training.precision import autocast
from pcsearch.training.sam import uphill

if TYPE_CHECKING:
    from pcsearch.data.loaders import EpochBatches
    from pcsearch.models import Backbone


@dataclass(frozen=True)
class _Batch:
    """Images [B, 3, H, W] with labels [B], or mixed ones with labels [B, 2] (see `mixed`)."""

    images: Tensor
    labels: Tensor
    share: float

    def main(self, labels: Tensor) -> Tensor:
        """Of a part's labels, those with the larger share: [B]."""
        return labels if labels.dim() == 1 else labels[:, 0 if self.share >= 0.5 else 1]


@dataclass(frozen=True)
class EpochMeans:
    """Mean loss and top-1 percent over an epoch's samples, and the last update's learning rate.

    A mixed image counts as correct if its label with the larger share is found.
    `clipped` is the percentage of updates whose gradient norm exceeded `clip_norm`; None without
    `clip_norm`.
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
        optimizer: from `build_optimizer`; its learning rates are set at each update.
        batches: batches in an epoch.
        micro_batches: parts in which each batch is trained, one after the other.
        after_update: called after every update of the parameters.
    """

    def __init__(
        self,
        network: Network,
        optimizer: optim.Optimizer,
        stage: Stage,
        settings: TrainConfig,
        batches: int,
        device: torch.device,
        micro_batches: int = 1,
        after_update: Callable[[], None] = lambda: None,
    ) -> None:
        self._network = network
        self._optimizer = optimizer
        self._after_update = after_update
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
        self._group: list[_Batch] = []  # of the running update, for its second gradient
        self._clipped = torch.zeros((), dtype=torch.int64, device=device)  # read once an epoch

    def train(self, batches: Iterable[tuple[Tensor, Tensor]], epoch: int) -> EpochMeans:
        """Train on the batches of `epoch`, counted over the whole training.

        With accumulation, a group's gradient is that of the mean over its images, also in an
        incomplete last group. A penalty's pairs stay within each batch. Batch normalisation takes
        its statistics from a batch, or from a micro-batch if batches are divided. The rest of an
        update does not change when batches are divided, except for rounding.

        Raises:
            DivergedError: a loss is not finite. The CPU raises before the update, CUDA soon after.
        """
        group = self._settings.accumulation_steps
        every = batches_between_checks(self._device)
        sizes: list[int] = []
        self._group.clear()
        self._losses.zero_()
        self._correct.zero_()
        self._clipped.zero_()
        self._optimizer.zero_grad()
        for images, labels in batches:
            batch = _Batch(*mixed(images, labels, self._settings))
            for loss, of_batch, correct in self._backward(batch):
                self._losses[len(sizes)].add_(loss, alpha=of_batch)
                self._correct[len(sizes)].add_(correct)
            if self._settings.sam_rho:
                self._group.append(batch)
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

    def _backward(self, batch: _Batch) -> Iterator[tuple[Tensor, float, Tensor]]:
        """Add the gradient of one batch, part by part.

        Yields each part's loss, its share of the batch, and its correct answers, on the device.
        """
        images, labels = batch.images, batch.labels
        accumulates = self._settings.accumulation_steps > 1
        of_group = len(labels) / self._full_group if accumulates else 1.0
        parts = divided(images, labels, self._pairs) if self._divides else [(images, labels)]
        for part_images, part_labels in parts:
            with autocast(self._device, self._settings.amp):
                output = self._network(part_images)
            loss, logits = self._objective(output, part_labels, batch.share)
            of_batch = len(part_labels) / len(labels)
            correct = (logits.argmax(dim=1) == batch.main(part_labels)).sum()
            yield loss.detach(), of_batch, correct
            if (share := of_batch * of_group) != 1.0:
                loss = loss * share
            loss.backward()  # type: ignore[no-untyped-call]

    def _update_at(self, epoch: int, position: int) -> int:
        """The update, counted over the stage, to which the epoch's batch `position` belongs."""
        before = (epoch - self._stage.epochs.start) * self._updates_per_epoch
        return before + position // self._settings.accumulation_steps

    def _update(self, update: int, images: int) -> None:
        if rho := self._settings.sam_rho:
            with uphill(self._parameters, rho, self._network):
                for batch in self._group:
                    for _ in self._backward(batch):
                        pass
            self._group.clear()
        if self._settings.accumulation_steps > 1 and images != self._full_group:
            for parameter in self._parameters:
                if parameter.grad is not None:
                    parameter.grad.mul_(self._full_group / images)
        if (most := self._settings.clip_norm) is not None:
            self._clipped.add_(clip_grad_norm_(self._parameters, most) > most)
        set_lr(self._optimizer, self._stage.lr_at(update))
        self._optimizer.step()
        self._after_update()
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
    """How many batches pass between two checks of the losses: one on the CPU, elsewhere 64.

    Reading a loss makes the process wait for the GPU's queue. Every 64 batches that costs nothing,
    and a diverged training still stops early.
    """
    return 1 if device.type == "cpu" else 64


def _advice(settings: TrainConfig) -> str:
    advice = ["lower search.lr"]
    if settings.own_loss is not None:
        advice.append(f"look at {settings.own_loss.reference}, which returned it")
    if settings.clip_norm is None:
        advice.append("set train.clip_norm")
    if settings.variant == "jeffreys" and settings.lambda_ > 0:
        advice.append("use a much smaller search.jeffreys_lambda (this divergence has no bound)")
    return " or ".join(advice)


__all__ = ["EpochRecord", "fit"]

_DROPOUT_STREAM = 3  # differs from the data's streams, which also come from (seed, epoch)


def fit(
    backbone: Backbone,
    batches: EpochBatches,
    settings: TrainConfig,
    *,
    device: torch.device | str,
    evaluate: Callable[[nn.Module], Evaluation] | None,
    checkpoints: Checkpoints | None = None,
    micro_batches: int = 1,
) -> Generator[EpochRecord]:
    """Train `backbone` in place and yield a record after each epoch, from 1 to `settings.epochs`.

    Nothing happens before the first `next`. The caller may stop at any record by closing the
    generator. `batches.epoch(e)` is called for e = 1, 2, ...; `evaluate` gets the module.

    With `ema_decay`, a running mean of the weights is evaluated, and `backbone` has it at the end.

    With `micro_batches`, each batch passes through the network in that many parts, which takes
    less memory. Updates, learning rates and pairs are those of whole batches.

    With `checkpoints`, the state is written at the end of an epoch if a checkpoint is due, before
    the epoch's record is yielded. An existing checkpoint is resumed, also with other
    `micro_batches`: its records are yielded first (`replayed`). Random numbers come from (seed,
    epoch) alone. So on the CPU, a resumed training equals an uninterrupted one, bit for bit.

    Raises:
        TrialError: a loss or an evaluation is not finite, the checkpoint belongs to another
            training, memory runs out, or the network cannot be compiled.
        ValueError: fewer than one micro-batch.
        UserError: the loss variant does not exist, or the network has nothing to train.
    """
    device = torch.device(device)
    module = _placed(backbone.module, settings, device)
    identity = identity_of(settings, module, len(batches))
    average = average_of(module, settings)
    saved, records = _loaded(checkpoints, identity, module, average)
    if average is not None and len(records) == settings.epochs:
        module.load_state_dict(average.module.state_dict())
    yield from tuple(records)
    done = len(records)
    for stage in stages_of(settings, math.ceil(len(batches) / settings.accumulation_steps)):
        if done >= stage.epochs[-1]:
            continue
        with frozen_body(backbone, stage.head_only):
            optimizer = build_optimizer(backbone, settings, head_only=stage.head_only)
            if saved is not None and done in stage.epochs:
                optimizer.load_state_dict(saved.optimizer)
            saved = None
            network: Network = _compiled(module, settings) if settings.compile else module
            trainer = EpochTrainer(
                network,
                optimizer,
                stage,
                settings,
                len(batches),
                device,
                micro_batches,
                (lambda: None) if average is None else partial(average.update_parameters, module),
            )
            for epoch in range(max(stage.epochs.start, done + 1), stage.epochs.stop):
                start = time.perf_counter()
                set_training_mode(backbone, stage.head_only)
                with (
                    explain_failures(settings, micro_batches=micro_batches),
                    _seeded(settings.seed, epoch, device),
                ):
                    means = trainer.train(batches.epoch(epoch), epoch)
                with explain_failures(settings, "evaluating"):
                    measured = module if average is None else average.module
                    validation = evaluate(measured) if evaluate is not None else None
                records.append(_record(epoch, means, validation, time.perf_counter() - start))
                _save_if_due(checkpoints, identity, module, optimizer, records, average)
                if average is not None and epoch == settings.epochs:
                    module.load_state_dict(average.module.state_dict())
                yield records[-1]


def _placed(module: nn.Module, settings: TrainConfig, device: torch.device) -> nn.Module:
    """The module on its device, in its memory format."""
    with explain_failures(settings, "placing"):
        module.to(device)
        if settings.channels_last:
            module.to(memory_format=torch.channels_last)
    return module


def _loaded(
    checkpoints: Checkpoints | None,
    identity: Identity,
    module: nn.Module,
    average: AveragedModel | None,
) -> tuple[Checkpoint | None, list[EpochRecord]]:
    """Load the latest checkpoint into the module; return it and its records, or (None, [])."""
    saved = checkpoints.load(identity) if checkpoints is not None else None
    if saved is None:
        return None, []
    module.load_state_dict(saved.model)
    if average is not None and saved.average is not None:
        average.load_state_dict(saved.average)
    return saved, [replace(record, replayed=True) for record in saved.records]


def _save_if_due(
    checkpoints: Checkpoints | None,
    identity: Identity,
    module: nn.Module,
    optimizer: optim.Optimizer,
    records: Sequence[EpochRecord],
    average: AveragedModel | None,
) -> None:
    if checkpoints is not None and checkpoints.due:
        mean = None if average is None else average.state_dict()
        state = Checkpoint(module.state_dict(), optimizer.state_dict(), (*records,), mean)
        checkpoints.save(state, identity)


def _record(
    epoch: int, means: EpochMeans, validation: Evaluation | None, seconds: float
) -> EpochRecord:
    return EpochRecord(
        epoch=epoch,
        train_loss=means.loss,
        train_top1=means.top1,
        lr=means.lr,
        seconds=seconds,
        images=means.images,
        validation=validation,
        clipped=means.clipped,
    )


@contextmanager
def _seeded(seed: int, epoch: int, device: torch.device) -> Iterator[None]:
    """Seed PyTorch's random numbers (dropout) with (seed, epoch); restore their state after."""
    words = np.random.SeedSequence((seed, epoch, _DROPOUT_STREAM)).generate_state(1, np.uint64)
    on_cuda = device.type == "cuda"
    index = device.index if device.index is not None or not on_cuda else torch.cuda.current_device()
    with torch.random.fork_rng(devices=[index] if on_cuda else [], device_type="cuda"):
        torch.manual_seed(int(words[0]))
        yield


def _compiled(module: nn.Module, settings: TrainConfig) -> Network:
    with explain_failures(settings):
        compiled: Network = torch.compile(module)
    return compiled
