"""The training of one configuration, epoch by epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from pcsearch.train.checkpoint import Checkpoint, identity_of
from pcsearch.train.checkpoints import Checkpoints
from pcsearch.train.epoch import EpochMeans, EpochTrainer
from pcsearch.train.failures import explained
from pcsearch.train.objective import Network
from pcsearch.train.optimizer import build_optimizer
from pcsearch.train.records import EpochRecord, Evaluation
from pcsearch.train.settings import FitSettings
from pcsearch.train.stages import frozen_body, set_training_mode, stages_of

if TYPE_CHECKING:
    from pcsearch.data.batches import TrainBatches
    from pcsearch.models import Backbone

__all__ = ["EpochRecord", "fit"]

_DROPOUT_STREAM = 3  # kept apart from the data's random numbers, made of (seed, epoch) too


def fit(
    backbone: Backbone,
    batches: TrainBatches,
    settings: FitSettings,
    *,
    device: torch.device | str,
    evaluate: Callable[[nn.Module], Evaluation] | None,
    checkpoints: Checkpoints | None = None,
    micro_batches: int = 1,
) -> Generator[EpochRecord]:
    """Train `backbone` in place and yield a record after each epoch, from 1 to `settings.epochs`.

    Nothing happens before the first `next`. The caller may stop at any record, by closing the
    generator. `batches.epoch(e)` is asked for e = 1, 2, ...; `evaluate` gets the module.

    With `micro_batches`, each batch passes through the network in so many parts, which takes less
    memory. Updates, learning rates and pairs are those of whole batches, and a checkpoint is gone
    on from whatever the number was before.

    With `checkpoints`, the state is written there at the end of an epoch, before its record is
    yielded, whenever one is due. Where there is one already, its records are yielded again first
    (`replayed`), so that none can get lost between a checkpoint and its reader, and training goes
    on after them. Random numbers come from (seed, epoch) alone and the caller's random state is
    left as it was: on the CPU, a resumed training is an uninterrupted one, bit for bit.

    Raises:
        TrialError: a loss or an evaluation that is not finite, a checkpoint of another training,
            too little memory, a network that cannot be compiled. One that cannot be written is
            none: see `Checkpoints.error`.
        ValueError: fewer than one micro-batch.
        UserError: a loss variant that does not exist, a network with nothing to train.
    """
    device = torch.device(device)
    module = backbone.module
    with explained(settings, "placing"):
        module.to(device)
        if settings.channels_last:
            module.to(memory_format=torch.channels_last)
    identity = identity_of(settings, module, len(batches))
    saved = checkpoints.load(identity) if checkpoints is not None else None
    records: list[EpochRecord] = []
    if saved is not None:
        module.load_state_dict(saved.model)
        records += (replace(record, replayed=True) for record in saved.records)
        yield from tuple(records)
    done = len(records)
    updates_per_epoch = math.ceil(len(batches) / settings.accumulation_steps)
    for stage in stages_of(settings, updates_per_epoch):
        if done >= stage.epochs[-1]:
            continue
        with frozen_body(backbone, stage.head_only):
            optimizer = build_optimizer(backbone, settings, head_only=stage.head_only)
            if saved is not None and done in stage.epochs:
                optimizer.load_state_dict(saved.optimizer)
            saved = None
            network: Network = _compiled(module, settings) if settings.compile else module
            trainer = EpochTrainer(
                network, optimizer, stage, settings, len(batches), device, micro_batches
            )
            for epoch in range(max(stage.epochs.start, done + 1), stage.epochs.stop):
                start = time.perf_counter()
                set_training_mode(backbone, stage.head_only)
                with (
                    explained(settings, micro_batches=micro_batches),
                    _seeded(settings.seed, epoch, device),
                ):
                    means = trainer.train(batches.epoch(epoch), epoch)
                with explained(settings, "evaluating"):
                    validation = evaluate(module) if evaluate is not None else None
                records.append(_record(epoch, means, validation, time.perf_counter() - start))
                if checkpoints is not None and checkpoints.due:
                    state = Checkpoint(module.state_dict(), optimizer.state_dict(), (*records,))
                    checkpoints.save(state, identity)
                yield records[-1]


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
    """PyTorch's own random numbers (dropout) from (seed, epoch); afterwards as they were."""
    words = np.random.SeedSequence((seed, epoch, _DROPOUT_STREAM)).generate_state(1, np.uint64)
    on_cuda = device.type == "cuda"
    index = device.index if device.index is not None or not on_cuda else torch.cuda.current_device()
    with torch.random.fork_rng(devices=[index] if on_cuda else [], device_type="cuda"):
        torch.manual_seed(int(words[0]))
        yield


def _compiled(module: nn.Module, settings: FitSettings) -> Network:
    with explained(settings):
        compiled: Network = torch.compile(module)
    return compiled
