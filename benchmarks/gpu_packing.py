"""How many trials to put on one GPU: images a second of all together, and their peak memory.

    python benchmarks/gpu_packing.py --backbone resnet50 --crop 224 --batch 32
    python benchmarks/gpu_packing.py --device cpu --backbone compact_cnn --crop 32 --seconds 3

Plain processes, no Ray: 1, 2, 3 and 4 of them train the backbone at the same time on batches that
are on the device already, by the very loop of a trial, each within its share of the memory (decoded
images, which trials with `residency: auto` keep there where they fit, are not). All begin when the
last one is ready. The rates are those of the time in which every one of them trains. The fraction
to write as `resources.gpus_per_trial` is printed: the one with the most images a second, and of
those within 3 % the one with the fewest trials.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from typing import Any

import torch

WARMUP_STEPS = 3
BATCHES = 4
CLASSES = 200
CLOSE = 0.97


@dataclass(frozen=True)
class Rate:
    """One process: images a second, and the most memory it held on the device, in bytes."""

    images: float
    memory: int


def train(options: argparse.Namespace, share: float, ready: Barrier, rates: Any) -> None:
    """Train for the stated seconds, in a process of its own with a `share` of the GPU's memory, and
    put the `Rate`."""
    from pcsearch.models.registry import build_backbone
    from pcsearch.training.config import TrainConfig
    from pcsearch.training.memory import tune_malloc
    from pcsearch.training.optim import build_optimizer, stages_of
    from pcsearch.training.trainer import EpochTrainer

    device = torch.device(options.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
        tune_malloc()
    elif share < 1:
        torch.cuda.set_per_process_memory_fraction(share)  # as a trial is given
    settings = TrainConfig(
        epochs=10_000, seed=0, lr=1e-3, batch_size=options.batch, lambda_=0.1 * CLASSES
    )
    backbone = build_backbone(options.backbone, CLASSES, seed=0)
    layout = torch.channels_last if settings.channels_last else torch.contiguous_format
    backbone.module.to(device).to(memory_format=layout)
    generator = torch.Generator().manual_seed(0)
    shape = (options.batch, 3, options.crop, options.crop)
    batches = [
        (
            torch.randn(shape, generator=generator).to(device, memory_format=layout),
            torch.randint(CLASSES, (options.batch,), generator=generator).to(device),
        )
        for _ in range(BATCHES)
    ]
    stage = stages_of(settings, BATCHES)[-1]
    optimizer = build_optimizer(backbone, settings)
    trainer = EpochTrainer(backbone.module, optimizer, stage, settings, BATCHES, device)
    backbone.module.train()
    for epoch in range(1, 1 + WARMUP_STEPS):
        trainer.train(batches, epoch)
    ready.wait()
    began, images, epoch = time.perf_counter(), 0, WARMUP_STEPS
    while time.perf_counter() - began < options.seconds:
        epoch += 1
        images += trainer.train(batches, epoch).images  # reads the losses, and so waits for them
    seconds = time.perf_counter() - began
    memory = torch.cuda.max_memory_reserved(device) if device.type == "cuda" else 0
    rates.put(Rate(images / seconds, memory))


def together(options: argparse.Namespace, trials: int) -> list[Rate] | None:
    """So many at once; None if one of them ended early, for want of memory most likely."""
    context = multiprocessing.get_context("spawn")
    ready, rates = context.Barrier(trials), context.Queue()
    arguments = (options, 1 / trials, ready, rates)
    processes = [context.Process(target=train, args=arguments) for _ in range(trials)]
    for process in processes:
        process.start()
    found: list[Rate] = []
    while len(found) < trials:
        if any(process.exitcode not in (None, 0) for process in processes):
            ready.abort()
            break
        while not rates.empty():
            found.append(rates.get())
        time.sleep(0.1)
    for process in processes:
        process.join()
    return found if len(found) == trials else None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--crop", type=int, default=224)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--trials", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU that this PyTorch can use; --device cpu tries the script")
    print("trials   images/s   of one alone   peak GB each   in all")
    totals: dict[int, float] = {}
    for trials in options.trials:
        rates = together(options, trials)
        if rates is None:
            print(f"{trials:6}   a process ended early: too little memory?")
            break
        total, memory = sum(rate.images for rate in rates), [rate.memory / 1e9 for rate in rates]
        totals[trials] = total
        against, each, together_gb = total / totals[options.trials[0]], max(memory), sum(memory)
        print(
            f"{trials:6}   {total:8.1f}   {against:12.2f}   {each:12.2f}   {together_gb:6.2f}",
            flush=True,
        )
    if totals:
        most = max(totals.values())
        best = min(trials for trials, total in totals.items() if total >= CLOSE * most)
        fraction = 1.0 if best == 1 else int(1000 / best) / 1000
        print(f"resources.gpus_per_trial: {fraction:g}   ({best} a GPU)")


if __name__ == "__main__":
    main()
