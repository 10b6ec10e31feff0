"""What a training step costs, and what pcsearch adds to it.

    python benchmarks/training_step.py [--backbone compact_cnn] [--crop 32] [--device cpu]

Prints medians over interleaved epochs, all in one run:
  bare    forward, backward, update on batches already in memory
  loop    the same batches through `pcsearch.training.fit`
  whole   `fit` over a decoded image store: crop, flip, normalisation and metrics included
  whole+PC  the same with Pairwise Confusion
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pcsearch.data.loaders import TrainBatches
from pcsearch.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from pcsearch.models.registry import build_backbone
from pcsearch.training.config import TrainConfig
from pcsearch.training.trainer import fit

CLASSES = 20


class InMemory:
    """The batches of a `TrainBatches`' first epoch, again and again."""

    def __init__(self, batches: TrainBatches) -> None:
        self._batches = list(batches.epoch(1))

    def __len__(self) -> int:
        return len(self._batches)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self._batches)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="compact_cnn")
    parser.add_argument("--crop", type=int, default=32)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--batches", type=int, default=25, help="batches an epoch")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--channels-last", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    measure(options)


def measure(options: argparse.Namespace) -> None:
    rng = np.random.default_rng(0)
    images = options.batch * options.batches
    side = options.crop * 5 // 4
    pixels = rng.integers(0, 256, (images, side, side, 3), dtype=np.uint8)
    batches = TrainBatches(
        pixels,
        rng.integers(0, CLASSES, images),
        np.arange(images),
        Preprocessing(crop=options.crop, flip=True, mean=IMAGENET_MEAN, std=IMAGENET_STD),
        batch_size=options.batch,
        pairing="split_batch",
        seed=0,
        device=torch.device(options.device),
        channels_last=options.channels_last,
    )
    ready = InMemory(batches)
    runs: dict[str, Callable[[], object]] = {
        "bare": bare_step(options, ready),
        "loop": fitted(options, ready, 0.0),
        "whole": fitted(options, batches, 0.0),
        "whole+PC": fitted(options, batches, 0.1 * CLASSES),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for epoch, (name, run) in itertools.product(range(options.epochs), runs.items()):
        synchronise(options.device)
        started = time.perf_counter()
        run()
        synchronise(options.device)
        if epoch >= 2:  # the first epochs warm up
            seconds[name].append(time.perf_counter() - started)
    report(seconds, images)


def report(seconds: dict[str, list[float]], images: int) -> None:
    for name, times in seconds.items():
        ms = 1000 * statistics.median(times) / images
        print(f"{name:9} {ms:7.3f} ms an image  {1000 / ms:8.0f} images/s")
    pairs = [("loop", "bare"), ("whole", "bare"), ("whole+PC", "whole")]
    for slow, fast in pairs:
        ratios = [a / b for a, b in zip(seconds[slow], seconds[fast], strict=True)]
        print(f"time of {slow} / {fast}: {statistics.median(ratios):.3f} (median of pairs)")


def bare_step(options: argparse.Namespace, batches: InMemory) -> Callable[[], None]:
    module = build_backbone(options.backbone, CLASSES).module.to(options.device).train()
    if options.channels_last:
        module = module.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)

    def epoch() -> None:
        for images, labels in batches.epoch(1):
            with torch.autocast("cuda", torch.bfloat16, enabled=options.device == "cuda"):
                loss = F.cross_entropy(module(images), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return epoch


def fitted(
    options: argparse.Namespace, batches: InMemory | TrainBatches, lambda_: float
) -> Callable[[], object]:
    settings = TrainConfig(
        epochs=options.epochs,
        seed=0,
        lr=0.01,
        batch_size=options.batch,
        lambda_=lambda_,
        channels_last=options.channels_last,
    )
    backbone = build_backbone(options.backbone, CLASSES)
    epochs = fit(backbone, batches, settings, device=torch.device(options.device), evaluate=None)
    return lambda: next(epochs)


def synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
