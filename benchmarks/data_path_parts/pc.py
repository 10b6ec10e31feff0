"""Time of a step with Pairwise Confusion ÷ time of the step with plain cross-entropy.

Both are `EpochTrainer.train` on the same batches in memory, with the same network and the same
optimizer: only the objective differs, so neither side can have the better place in memory. A block
is a few steps (one by default). Blocks run as plain, PC, PC, plain: linear drift cancels within
such a foursome, whose ratio counts once. Foursomes of plain against plain run in between: their
median says what the machine's noise alone makes of a ratio of 1.

A shared machine's noise is wider than what is looked for. So the objective is timed alone as well,
forward and backward on logits that are there already, with and without the penalty in turns: what
it takes more, added to the whole plain step of the same run, gives the ratio without the network's
noise. The caches are warm there, which a network leaves cold; the first ratio has no such flaw.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path

import torch

from data_path_parts.figures import Figure, quartiles
from data_path_parts.timing import (
    Times,
    in_turns,
    median,
    median_interval,
    on_cores,
    synchroniser,
    timed,
)
from pcsearch.models.registry import build_backbone
from pcsearch.training.config import TrainConfig
from pcsearch.training.memory import tune_malloc
from pcsearch.training.objective import Objective
from pcsearch.training.optim import build_optimizer, stages_of
from pcsearch.training.trainer import EpochTrainer

WARMUPS = 3
ALONE = 2000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backbone", default="squeezenet1_1")
    parser.add_argument("--crop", type=int, default=112)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--classes", type=int, default=50)
    parser.add_argument("--block", type=int, default=1, help="steps timed at once")
    parser.add_argument("--foursomes", type=int, default=100)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=1)


def measure(options: argparse.Namespace, scratch: Path) -> list[Figure]:
    torch.set_num_threads(options.threads)
    if options.device == "cpu":
        tune_malloc()  # as in a campaign's workers
    cores = on_cores(options.threads) if options.device == "cpu" else contextlib.nullcontext()
    with cores:
        return _measure(options)


def _measure(options: argparse.Namespace) -> list[Figure]:
    plain, confused = _blocks(options)
    wait = synchroniser(options.device)
    for run in (plain, confused) * WARMUPS:
        timed(run, Times(), wait)
    wall: dict[str, list[float]] = {"PC": [], "noise": []}
    cpu: dict[str, list[float]] = {"PC": [], "noise": []}
    plain_steps: list[float] = []
    pairs = (("PC", confused), ("noise", plain))
    for _, (name, other) in itertools.product(range(options.foursomes), pairs):
        spent = Times()
        for run in (plain, other, other, plain):
            timed(run, spent, wait)
        for sink, t in ((wall, spent.wall), (cpu, spent.cpu)):
            sink[name].append((t[1] + t[2]) / (t[0] + t[3]))
        plain_steps += [t / options.block for t in (spent.wall[0], spent.wall[3])]
    title = f"{options.backbone} {options.crop} {options.device}"
    figures = [
        _figure(f"step with PC ÷ without, {title}, {of}", times)
        for of, times in (
            ("wall", wall),
            ("CPU time", cpu),
        )
    ]
    return [*figures, _objective_alone(options, title, median(plain_steps))]


def _objective_alone(options: argparse.Namespace, title: str, plain_step: float) -> Figure:
    """What the penalty adds to the objective, as a part of the whole plain step."""
    device = torch.device(options.device)
    shape = (options.batch, options.classes)
    logits = torch.randn(shape, device=device, requires_grad=True)
    labels = torch.randint(options.classes, (options.batch,), device=device)

    def run(lambda_: float) -> Callable[[], None]:
        objective = Objective(TrainConfig(epochs=1, seed=0, lr=0.01, batch_size=1, lambda_=lambda_))

        def forward_and_backward() -> None:
            loss, _ = objective(logits, labels)
            loss.backward()  # type: ignore[no-untyped-call]

        return forward_and_backward

    runs = {"plain": run(0.0), "PC": run(0.1 * options.classes)}
    times = in_turns(runs, ALONE, warmups=20, synchronise=synchroniser(options.device))
    added = [b - a for a, b in zip(times["plain"].wall, times["PC"].wall, strict=True)]
    low, high = median_interval(added)
    return Figure(
        f"the same from the objective alone, {title}",
        1 + median(added) / plain_step,
        wanted=1.01,
        at_least=False,
        spread=quartiles([1 + seconds / plain_step for seconds in added]),
        note=f"{median(added) * 1e3:.3f} ms more ({low * 1e3:.3f} to {high * 1e3:.3f}) "
        f"on a step of {plain_step * 1e3:.1f} ms",
        details={"added_seconds": added},
    )


def _figure(name: str, foursomes: dict[str, list[float]]) -> Figure:
    low, high = median_interval(foursomes["PC"])
    note = f"95 % of median {low:.4f} to {high:.4f}; plain ÷ plain {median(foursomes['noise']):.4f}"
    return Figure(
        name,
        median(foursomes["PC"]),
        wanted=1.01,
        at_least=False,
        spread=quartiles(foursomes["PC"]),
        note=note,
        details={"foursomes": foursomes},
    )


def _blocks(options: argparse.Namespace) -> tuple[Callable[[], object], Callable[[], object]]:
    """A block of steps without, and one with, Pairwise Confusion."""
    device = torch.device(options.device)
    backbone = build_backbone(options.backbone, options.classes, seed=options.seed)
    backbone.module.to(device).to(memory_format=torch.channels_last).train()
    generator = torch.Generator().manual_seed(options.seed)
    shape = (options.batch, 3, options.crop, options.crop)
    images = torch.randn(shape, generator=generator).to(device)
    labels = torch.randint(options.classes, (options.batch,), generator=generator).to(device)
    batch = (images.contiguous(memory_format=torch.channels_last), labels)

    def settings(lambda_: float) -> TrainConfig:
        # so small a learning rate keeps the weights, and the cost of a step, as they are
        return TrainConfig(
            epochs=1,
            seed=0,
            lr=1e-6,
            batch_size=options.batch,
            lambda_=lambda_,
            schedule="constant",
            channels_last=True,
        )

    optimizer = build_optimizer(backbone, settings(0.0))

    def block(lambda_: float) -> Callable[[], object]:
        chosen = settings(lambda_)
        (stage,) = stages_of(chosen, options.block)
        trainer = EpochTrainer(backbone.module, optimizer, stage, chosen, options.block, device)
        return lambda: trainer.train([batch] * options.block, 1)

    return block(0.0), block(0.1 * options.classes)
