"""Time of a step with an arm (`--arm`, PC by default) ÷ time of the step with plain cross-entropy.

Both are `EpochTrainer.train` on the same batches in memory, with the same network and the same
optimizer: only the arm's settings differ, so neither side can have the better place in memory. A
block is a few steps (one by default). Blocks run as plain, arm, arm, plain: linear drift cancels
within such a foursome, whose ratio counts once. The arm's own parameters have the middles of their
default ranges. Foursomes of plain against plain run in between: their
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
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
from pcsearch.arms import arm_named
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
    parser.add_argument(
        "--arm", default="pc", help="a name in `pcsearch.arms`, or several joined by +"
    )
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
    wall: dict[str, list[float]] = {"arm": [], "noise": []}
    cpu: dict[str, list[float]] = {"arm": [], "noise": []}
    plain_steps: list[float] = []
    pairs = (("arm", confused), ("noise", plain))
    for _, (name, other) in itertools.product(range(options.foursomes), pairs):
        spent = Times()
        for run in (plain, other, other, plain):
            timed(run, spent, wait)
        for sink, t in ((wall, spent.wall), (cpu, spent.cpu)):
            sink[name].append((t[1] + t[2]) / (t[0] + t[3]))
        plain_steps += [t / options.block for t in (spent.wall[0], spent.wall[3])]
    title = f"{options.backbone} {options.crop} {options.device}"
    figures = [
        _figure(f"step with {options.arm} ÷ without, {title}, {of}", times, _wanted(options))
        for of, times in (
            ("wall", wall),
            ("CPU time", cpu),
        )
    ]
    if _changes_more(options):
        return figures
    return [*figures, _objective_alone(options, title, median(plain_steps))]


def _changes_more(options: argparse.Namespace) -> bool:
    """Whether the arm changes images or updates, not the objective alone."""
    return bool({"mixup", "cutmix", "sam_rho"} & set(_own_values(options)))


def _wanted(options: argparse.Namespace) -> float | None:
    return None if _changes_more(options) else 1.01


def _own_values(options: argparse.Namespace) -> dict[str, Any]:
    """The training settings of the arm, in the middle of its default ranges."""
    arm = arm_named(options.arm)
    values: dict[str, Any] = {} if arm.variant is None else {"variant": arm.variant}
    for parameter in arm.parameters:
        low, high = parameter.default
        middle = math.sqrt(low * high) if parameter.log else (low + high) / 2
        if parameter.name == "lambda_over_n":
            values["lambda_"] = middle * options.classes
        else:
            values["lambda_" if parameter.name == "lambda" else parameter.name] = middle
    return values


def _objective_alone(options: argparse.Namespace, title: str, plain_step: float) -> Figure:
    """What the arm adds to the objective, as a part of the whole plain step."""
    device = torch.device(options.device)
    shape = (options.batch, options.classes)
    logits = torch.randn(shape, device=device, requires_grad=True)
    labels = torch.randint(options.classes, (options.batch,), device=device)

    def run(**values: Any) -> Callable[[], None]:
        objective = Objective(TrainConfig(epochs=1, seed=0, lr=0.01, batch_size=1, **values))

        def forward_and_backward() -> None:
            loss, _ = objective(logits, labels)
            loss.backward()  # type: ignore[no-untyped-call]

        return forward_and_backward

    runs = {"plain": run(), "arm": run(**_own_values(options))}
    times = in_turns(runs, ALONE, warmups=20, synchronise=synchroniser(options.device))
    added = [b - a for a, b in zip(times["plain"].wall, times["arm"].wall, strict=True)]
    low, high = median_interval(added)
    return Figure(
        f"{options.arm} ÷ without, from the objective alone, {title}",
        1 + median(added) / plain_step,
        wanted=1.01,
        at_least=False,
        spread=quartiles([1 + seconds / plain_step for seconds in added]),
        note=f"{median(added) * 1e3:.3f} ms more ({low * 1e3:.3f} to {high * 1e3:.3f}) "
        f"on a step of {plain_step * 1e3:.1f} ms",
        details={"added_seconds": added},
    )


def _figure(name: str, foursomes: dict[str, list[float]], wanted: float | None) -> Figure:
    low, high = median_interval(foursomes["arm"])
    note = f"95 % of median {low:.4f} to {high:.4f}; plain ÷ plain {median(foursomes['noise']):.4f}"
    return Figure(
        name,
        median(foursomes["arm"]),
        wanted=wanted,
        at_least=False,
        spread=quartiles(foursomes["arm"]),
        note=note,
        details={"foursomes": foursomes},
    )


def _blocks(options: argparse.Namespace) -> tuple[Callable[[], object], Callable[[], object]]:
    """A block of steps without, and one with, the arm."""
    device = torch.device(options.device)
    backbone = build_backbone(options.backbone, options.classes, seed=options.seed)
    backbone.module.to(device).to(memory_format=torch.channels_last).train()
    generator = torch.Generator().manual_seed(options.seed)
    shape = (options.batch, 3, options.crop, options.crop)
    images = torch.randn(shape, generator=generator).to(device)
    labels = torch.randint(options.classes, (options.batch,), generator=generator).to(device)
    batch = (images.contiguous(memory_format=torch.channels_last), labels)

    def settings(**values: Any) -> TrainConfig:
        # so small a learning rate keeps the weights, and the cost of a step, as they are
        return TrainConfig(
            epochs=1,
            seed=0,
            lr=1e-6,
            batch_size=options.batch,
            schedule="constant",
            channels_last=True,
            **values,
        )

    optimizer = build_optimizer(backbone, settings())

    def block(**values: Any) -> Callable[[], object]:
        chosen = settings(**values)
        (stage,) = stages_of(chosen, options.block)
        trainer = EpochTrainer(backbone.module, optimizer, stage, chosen, options.block, device)
        return lambda: trainer.train([batch] * options.block, 1)

    return block(), block(**_own_values(options))
