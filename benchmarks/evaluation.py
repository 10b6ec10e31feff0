"""The cost of evaluating an image by the size of the batch it is in.

python benchmarks/evaluation.py [--backbone squeezenet1_1] [--crop 112] [--device cpu]
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time

import torch

from pcsearch.models.registry import build_backbone

SIZES = (16, 32, 64, 128, 256)
ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="squeezenet1_1")
    parser.add_argument("--crop", type=int, default=112)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    module = build_backbone(options.backbone, 50).module.eval().to(options.device)
    module = module.to(memory_format=torch.channels_last)
    shape = (max(SIZES), 3, options.crop, options.crop)
    images = torch.randn(shape, device=options.device).to(memory_format=torch.channels_last)
    seconds: dict[int, list[float]] = {size: [] for size in SIZES}
    with torch.inference_mode():
        for _, size in itertools.product(range(ROUNDS + 1), SIZES):
            started = time.perf_counter()
            for batch in images.split(size):
                module(batch)
            if options.device == "cuda":
                torch.cuda.synchronize()
            seconds[size].append((time.perf_counter() - started) / len(images))
    for size, times in seconds.items():
        # the first round warms up
        print(f"batch {size:3}: {1000 * statistics.median(times[1:]):.2f} ms an image")


if __name__ == "__main__":
    main()
